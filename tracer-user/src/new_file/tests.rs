//! New files: private, at no other's expense, and whole before they have their name.

use std::{
    ffi::CString,
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
        },
    },
};

use super::*;

/// An empty folder, which goes away with this.
struct Folder(PathBuf);

impl Folder {
    fn of(test: &str) -> Self {
        let name = format!("tracer-new-file-{}-{test}", std::process::id());
        let path = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(&self.0).unwrap();
        let names = files.map(|file| file.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> String {
    create(path).unwrap_err().to_string()
}

#[test]
fn a_file_is_private_and_replaces_an_older_one_only_when_it_takes_its_name() {
    let folder = Folder::of("whole");
    let path = folder.0.join("a.svg");
    fs::write(&path, "yesterday").unwrap();
    let (mut file, mut name) = create(&path).unwrap();
    file.write_all(b"today").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"yesterday");
    name.take().unwrap();
    name.take().unwrap();
    drop(name);
    assert_eq!(fs::read(&path).unwrap(), b"today");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        MODE
    );
    assert_eq!(folder.names(), ["a.svg"]);
}

#[test]
fn a_file_that_never_takes_its_name_leaves_nothing_and_destroys_nothing() {
    let folder = Folder::of("refused");
    let path = folder.0.join("a.rec");
    let (_, name) = create(&path).unwrap();
    assert!(!name.is_in_foreign_folder(), "this test made the folder");
    drop(name);
    assert!(folder.names().is_empty());
    fs::write(&path, "yesterday").unwrap();
    drop(create(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"yesterday");
    assert_eq!(folder.names(), ["a.rec"]);
}

#[test]
fn a_symbolic_link_is_refused_and_what_it_points_to_stays() {
    let folder = Folder::of("link");
    let (path, there) = (folder.0.join("link"), folder.0.join("there"));
    fs::write(&there, "secret").unwrap();
    symlink(&there, &path).unwrap();
    assert!(refusal(&path).contains("symbolic link"));
    assert_eq!(fs::read(&there).unwrap(), b"secret");
    fs::remove_file(&there).unwrap();
    assert!(refusal(&path).contains("symbolic link"), "a dangling one");
    assert_eq!(folder.names(), ["link"]);
}

#[test]
fn errors_say_what_to_do() {
    let folder = Folder::of("errors");
    assert!(refusal(&folder.0).contains("name a file in it"));
    assert!(refusal(&folder.0.join("no/x")).contains("its folder is not there: make it"));
    fs::write(folder.0.join("file"), "").unwrap();
    assert!(refusal(&folder.0.join("file/x")).contains("is no folder"));
    let _first = create(&folder.0.join("twice")).unwrap();
    assert!(refusal(&folder.0.join("twice")).contains("in the way"));
}

#[test]
fn a_pipe_is_written_to_and_stays_a_pipe() {
    let folder = Folder::of("pipe");
    let path = folder.0.join("pipe");
    let text = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: a valid string.
    assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
    // Open for both, it waits for nobody.
    let mut reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let (mut file, mut name) = create(&path).unwrap();
    file.write_all(b"today").unwrap();
    name.take().unwrap();
    let mut read = [0; 5];
    reader.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"today");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    assert_eq!(folder.names(), ["pipe"]);
}

#[test]
fn the_paths_of_devices_and_of_open_descriptors_are_written_to_as_they_are() {
    let (mut file, mut name) = create(Path::new("/dev/null")).unwrap();
    file.write_all(b"gone").unwrap();
    name.take().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    for folder in ["/proc/self/fd", "/dev/fd"] {
        if fs::exists(folder).unwrap() {
            let path = format!("{folder}/{}", writer.as_raw_fd());
            create(Path::new(&path)).unwrap().0.write_all(b"a").unwrap();
        }
    }
    drop(writer);
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert!(read == "aa" || read == "a", "{read}");
    if fs::exists("/dev/stdout").unwrap() {
        assert_eq!(descriptor(Path::new("/dev/stdout")), Some(1));
    }
    assert_eq!(descriptor(Path::new("why.svg")), None);
    assert_eq!(descriptor(Path::new("/dev/null")), None);
}

#[test]
fn only_of_root_the_caller_of_sudo_is_asked() {
    let text = |text: &str| Some(text.to_owned());
    let (uid, gid) = (text("1000"), text("100"));
    assert_eq!(caller_of(true, uid.clone(), gid.clone()), Some((1000, 100)));
    assert_eq!(caller_of(false, uid.clone(), gid), None);
    assert_eq!(caller_of(true, uid, text("x")), None);
    assert_eq!(caller_of(true, None, None), None);
}
