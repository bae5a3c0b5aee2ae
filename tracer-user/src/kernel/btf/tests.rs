//! The reader against blobs made by hand, and against the running kernel.

use super::*;

/// Builds a blob by hand.
#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, name: &str, kind: u32, flag: bool, count: u32, value: u32, tail: &[u32]) {
        let name = self.name(name);
        for word in [name, u32::from(flag) << 31 | kind << 24 | count, value]
            .iter()
            .chain(tail)
        {
            self.types.extend(word.to_le_bytes());
        }
    }

    fn build(&self) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [
            24,
            0,
            self.types.len() as u32,
            self.types.len() as u32,
            self.strings.len() as u32,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// `struct outer { int a; struct { union { int b; int bits:3; }; }; struct inner i; }` and a tracepoint.
fn example() -> Vec<u8> {
    let mut blob = Blob::new();
    blob.add("int", kind::INT, false, 0, 4, &[32]);
    let (a, b, bits, c, i) = (
        blob.name("a"),
        blob.name("b"),
        blob.name("bits"),
        blob.name("c"),
        blob.name("i"),
    );
    blob.add(
        "",
        kind::UNION,
        true,
        2,
        4,
        &[b, 1, 0, bits, 1, 3 << 24 | 5],
    );
    blob.add("", kind::STRUCT, false, 1, 4, &[0, 2, 32]);
    blob.add("inner", kind::STRUCT, false, 1, 4, &[c, 1, 0]);
    blob.add("inner_t", kind::TYPEDEF, false, 0, 4, &[]);
    blob.add(
        "outer",
        kind::STRUCT,
        false,
        3,
        20,
        &[a, 1, 0, 0, 3, 32, i, 5, 128],
    );
    blob.add("", kind::PTR, false, 0, 6, &[]);
    blob.add("", kind::FUNC_PROTO, false, 3, 0, &[0, 7, 0, 7, 0, 1]);
    blob.add("", kind::PTR, false, 0, 8, &[]);
    blob.add("btf_trace_event", kind::TYPEDEF, false, 0, 9, &[]);
    blob.build()
}

#[test]
fn members_are_found_through_anonymous_structures_and_typedefs() {
    let btf = Btf::parse(example()).unwrap();
    assert_eq!(
        btf.member("outer", "b"),
        Some(Member {
            byte_offset: 8,
            bit_offset: 0,
            bit_size: 0
        })
    );
    assert_eq!(btf.member("outer", "i.c").unwrap().byte_offset, 16);
    assert_eq!(
        btf.member("outer", "bits"),
        Some(Member {
            byte_offset: 8,
            bit_offset: 5,
            bit_size: 3
        })
    );
    assert_eq!(btf.member("outer", "none"), None);
    assert_eq!((btf.size("outer"), btf.size("none")), (Some(20), None));
    assert_eq!(btf.member("none", "a"), None);
}

#[test]
fn a_variable_of_each_cpu_is_found_by_its_name() {
    let mut blob = Blob::new();
    blob.add("int", kind::INT, false, 0, 4, &[32]);
    blob.add("first", kind::VAR, false, 0, 1, &[1]);
    blob.add("second", kind::VAR, false, 0, 1, &[1]);
    blob.add("other", kind::VAR, false, 0, 1, &[1]);
    blob.add(".data", kind::DATASEC, false, 1, 4, &[4, 8, 4]);
    blob.add(
        ".data..percpu",
        kind::DATASEC,
        false,
        2,
        64,
        &[2, 16, 4, 3, 48, 4],
    );
    let btf = Btf::parse(blob.build()).unwrap();
    let found = ["first", "second", "other"].map(|name| btf.per_cpu(name));
    assert_eq!(found, [Some(16), Some(48), None]);
}

/// `struct opened { struct outer o; int a; }` and a tracepoint that takes it, numbered behind the example's ten types.
fn module() -> Vec<u8> {
    module_of("opened")
}

/// The same with another name.
fn module_of(name: &str) -> Vec<u8> {
    let base = u32_at(&example(), 20).unwrap();
    let mut blob = Blob::default();
    let opened = base + blob.name(name);
    let (o, own, traced) = (
        base + blob.name("o"),
        base + blob.name("own"),
        base + blob.name(&format!("btf_trace_{name}")),
    );
    for word in [
        [opened, kind::STRUCT << 24 | 2, 24].as_slice(),
        &[o, 6, 0, own, 1, 160],
        &[0, kind::PTR << 24, 11],
        &[0, kind::FUNC_PROTO << 24 | 2, 0, 0, 12, 0, 12],
        &[0, kind::PTR << 24, 13],
        &[traced, kind::TYPEDEF << 24, 14],
    ]
    .concat()
    {
        blob.types.extend(word.to_le_bytes());
    }
    blob.build()
}

#[test]
fn a_modules_types_go_on_behind_the_kernels() {
    let mut btf = Btf::parse(example()).unwrap();
    btf.extend(&module()).unwrap();
    assert_eq!(btf.member("opened", "own").unwrap().byte_offset, 20);
    assert_eq!(btf.member("opened", "o.i.c").unwrap().byte_offset, 16);
    let arguments = btf.tracepoint("opened").unwrap();
    assert_eq!(arguments[0].pointee.as_deref(), Some("opened"));
    assert_eq!(btf.tracepoint("event").unwrap().len(), 2);
}

#[test]
fn each_of_several_modules_has_its_own_types_and_the_kernels() {
    let names = ["opened", "much_longer", "closed"];
    let mut btf = Btf::parse(example()).unwrap();
    for name in names {
        btf.extend(&module_of(name)).unwrap();
    }
    for name in names {
        assert_eq!(btf.member(name, "own").unwrap().byte_offset, 20);
        assert_eq!(btf.member(name, "o.i.c").unwrap().byte_offset, 16);
        let arguments = btf.tracepoint(name).unwrap();
        assert_eq!(arguments[0].pointee.as_deref(), Some(name));
    }
}

#[test]
fn a_cut_or_corrupt_module_leaves_the_kernels_types_readable() {
    let whole = module();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        for blob in [bytes, whole[..at].to_vec()] {
            let mut btf = Btf::parse(example()).unwrap();
            let _ = btf.extend(&blob);
            let _ = (btf.member("opened", "o.i.c"), btf.tracepoint("opened"));
            assert_eq!(btf.member("outer", "i.c").unwrap().byte_offset, 16);
        }
    }
}

#[test]
fn a_tracepoint_has_its_arguments_without_the_private_one() {
    let btf = Btf::parse(example()).unwrap();
    let arguments = btf.tracepoint("event").unwrap();
    assert_eq!(
        arguments,
        [
            Argument {
                pointee: Some("outer".to_owned())
            },
            Argument { pointee: None }
        ]
    );
    assert_eq!(btf.tracepoint("nothing"), None);
}

#[test]
fn what_is_hooked_keeps_its_number_and_nothing_else_its_name() {
    let mut whole = Btf::parse(example()).unwrap();
    whole.extend(&module()).unwrap();
    let hooks = Btf::parse(whole.hooks(&["event", "none"], &[])).unwrap();
    assert_eq!(hooks.tracepoints["event"], 10, "its place in the example");
    assert_eq!((hooks.types.len(), hooks.structures.len()), (11, 0));
    // The number of a module's tracepoint would name another type of the kernel's.
    let hooks = Btf::parse(whole.hooks(&["opened"], &[])).unwrap();
    assert_eq!(hooks.types.len(), 1);
}

#[test]
fn a_cut_or_corrupt_file_is_an_error_and_never_a_panic() {
    let whole = example();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        if let Ok(btf) = Btf::parse(bytes) {
            let _ = (btf.member("outer", "bits"), btf.tracepoint("event"));
        }
    }
}

#[test]
fn the_running_kernel_has_the_members_that_every_kernel_has() {
    let Ok(btf) = Btf::of_kernel() else {
        eprintln!("SKIP btf: this kernel has no BTF");
        return;
    };
    assert!(btf.member("task_struct", "pid").is_some());
    let hooks = Btf::parse(btf.hooks(&["sched_switch"], &["tcp_sendmsg"])).unwrap();
    for (names, same) in [
        (&hooks.tracepoints, &btf.tracepoints),
        (&hooks.functions, &btf.functions),
    ] {
        assert_eq!(names.len(), 1);
        assert!(names.iter().all(|(name, id)| same[name] == *id));
    }
    assert_eq!(btf.member("task_struct", "in_iowait").unwrap().bit_size, 1);
    assert_eq!(
        btf.tracepoint("sched_switch").unwrap()[1]
            .pointee
            .as_deref(),
        Some("task_struct")
    );
}
