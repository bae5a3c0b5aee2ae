//! Remedies for a CPU.

use super::*;

/// A process (21) that takes the CPU.
fn burner(comm: &str, words: &str) -> Scene {
    let mut scene = Scene::new();
    let burner = scene.process(21, comm);
    scene.books.start.cpus = 2;
    scene.books.means.cpu = hierarchy(false, "/c/cpu");
    scene.books.standings.insert(0, standing(10, "nginx"));
    scene.books.standings.insert(burner, standing(21, words));
    let holder = Holder::Process(burner);
    scene
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, None, holder, 40)
}

fn change(scene: &mut Scene, change: impl Fn(&mut Standing)) -> &Scene {
    change(culprit(scene));
    scene
}

#[test]
fn renice_names_every_member_and_spares_kernel_threads() {
    let mut scene = Scene::new();
    let (a, b) = (scene.process(21, "gzip"), scene.process(22, "gzip"));
    scene.books.processes[b].parent = Some(a);
    scene.books.processes[b].sid = 21;
    let mut scene = scene
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, None, Holder::Process(a), 25)
        .charge(Resource::Cpu, None, Holder::Process(b), 15);
    scene.books.start.cpus = 2;
    let remedy = judge(&scene.books).remedies.remove(0);
    assert_eq!(remedy.command, "renice -n 19 -p 21 22");
    assert!(remedy.applies && remedy.note.contains("taskset"));
    for process in &mut scene.books.processes[1..] {
        process.kernel = true;
    }
    assert_eq!(judge(&scene.books).remedies, []);
}

#[test]
fn renice_does_nothing_to_the_nicest_to_real_time_and_to_other_groups() {
    let mut scene = burner("sh", "sh");
    does_nothing(
        &of(change(&mut scene, |s| s.nice = 19), "renice"),
        "lowest priority",
    );
    does_nothing(
        &of(change(&mut scene, |s| s.policy = 1), "renice"),
        "real-time",
    );
    let other = |s: &mut Standing| {
        (s.policy, s.nice, s.cpu.as_mut().unwrap().path) = (0, 0, "/jobs".to_owned());
    };
    does_nothing(&of(change(&mut scene, other), "renice"), "/jobs");
}

#[test]
fn between_sessions_the_autogroup_is_reniced() {
    let mut scene = burner("sh", "sh");
    scene.books.means.autogroup = true;
    scene.books.standings.get_mut(&0).unwrap().autogroup = Some((3, 0));
    let remedy = of(
        change(&mut scene, |s| s.autogroup = Some((5, 0))),
        "autogroup",
    );
    assert!(remedy.applies);
    assert_eq!(remedy.command, "echo 19 > /proc/21/autogroup");
    does_nothing(
        &of(
            change(&mut scene, |s| s.autogroup = Some((5, 19))),
            "renice",
        ),
        "session",
    );
}

#[test]
fn a_group_gets_few_shares_or_half_of_its_time() {
    let mut scene = burner("sh", "sh");
    let remedy = of(&scene, "cpu.shares");
    assert!(remedy.applies);
    // The weight of the fixture's root group says nothing about a new one.
    change(&mut scene, |s| s.cpu.as_mut().unwrap().weight = Some(1024));
    assert_eq!(
        of(&scene, "cpu.shares").command,
        "mkdir -p /c/cpu/tracer-21 && echo 102 > /c/cpu/tracer-21/cpu.shares \
         && for p in 21; do echo $p > /c/cpu/tracer-21/cgroup.procs; done"
    );
    let own = |s: &mut Standing| {
        let group = s.cpu.as_mut().unwrap();
        (group.path, group.leaf, group.members, group.weight) =
            ("/b".to_owned(), true, vec![21], Some(10));
    };
    change(&mut scene, own);
    scene.books.means.cpu = hierarchy(true, "/c");
    let held = Held {
        ns: 2_000 * MS,
        ..Held::default()
    };
    scene
        .books
        .held
        .insert((Resource::Cpu, None, Holder::Process(1)), held);
    assert_eq!(
        of(&scene, "cpu.max").command,
        "echo '50000 100000' > /c/b/cpu.max"
    );
    does_nothing(
        &of(change(&mut scene, |s| s.policy = 2), "cpu.max"),
        "real-time",
    );
}

#[test]
fn compressors_are_told_to_try_less() {
    for (comm, words, command) in [
        ("gzip", "gzip -9 /x", "kill 21 && sleep 1 && gzip -1 /x"),
        (
            "gzip",
            "gzip --best -ck /x",
            "kill 21 && sleep 1 && gzip -1 -ck /x",
        ),
        (
            "pigz",
            "pigz -p 8 -9 /x",
            "kill 21 && sleep 1 && pigz -1 -p1 -f /x",
        ),
        (
            "xz",
            "xz -T2 -9e -k /x",
            "kill 21 && sleep 1 && xz -0 -T1 -k /x",
        ),
        (
            "zstd",
            "zstd -19 -T0 /x -o /y",
            "kill 21 && sleep 1 && zstd -1 -T1 -f /x -o /y",
        ),
        (
            "7z",
            "7z a -mx=9 /x.7z /x",
            "kill 21 && sleep 1 && 7z a -mx=1 -mmt=1 /x.7z /x",
        ),
        (
            "borg",
            "borg create -C zstd,19 /r::a /x",
            "kill 21 && sleep 1 && borg create --compression lz4 /r::a /x",
        ),
    ] {
        let remedy = of(&burner(comm, words), &format!("&& {comm}"));
        assert!(remedy.applies, "{}", remedy.note);
        assert_eq!(remedy.command, command);
    }
}

#[test]
fn a_compressor_that_does_its_least_can_do_no_less() {
    does_nothing(
        &of(&burner("gzip", "gzip -1 /x"), "gzip -1"),
        "lowest level",
    );
    does_nothing(
        &of(&burner("zstd", "zstd -1 -T1 /x"), "zstd -1"),
        "lowest level",
    );
    does_nothing(
        &of(&burner("borg", "borg create /r::a /x"), "borg create"),
        "lz4",
    );
    for other in ["gzip -d /x.gz", "sh -c x"] {
        let comm = other.split(' ').next().unwrap();
        let remedies = judge(&burner(comm, other).books).remedies;
        assert!(
            !remedies
                .iter()
                .any(|remedy| remedy.why.starts_with("compresses")),
            "{other}"
        );
    }
}

#[test]
fn a_compressor_is_changed_where_tar_or_a_pipeline_starts_it() {
    let mut scene = burner("gzip", "gzip");
    change(&mut scene, |s| {
        (s.redirected, s.defaults) = (true, vec!["GZIP=-9".to_owned()]);
    });
    let remedy = of(&scene, "gzip -1");
    assert_eq!(remedy.command, "gzip -1");
    assert!(
        remedy.note.contains("leads elsewhere") && remedy.note.contains("GZIP=-9"),
        "{}",
        remedy.note
    );
    for (words, command) in [
        (
            "tar czf /x.tgz /srv",
            "kill 20 && sleep 1 && tar cf /x.tgz /srv '--use-compress-program=gzip -1'",
        ),
        (
            "tar -czf /x.tgz /srv",
            "kill 20 && sleep 1 && tar '--use-compress-program=gzip -1' -cf /x.tgz /srv",
        ),
        (
            "tar -c --gzip /srv",
            "kill 20 && sleep 1 && tar '--use-compress-program=gzip -1' -c /srv",
        ),
    ] {
        let tar = scene.process(20, "tar");
        scene.books.processes[1].parent = Some(tar);
        scene.books.processes[1].sid = 20;
        scene.books.processes[1].start_ns = 50;
        scene.books.standings.insert(tar, standing(20, words));
        assert_eq!(of(&scene, "use-compress-program").command, command);
    }
}
