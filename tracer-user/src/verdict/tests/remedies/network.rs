//! Remedies for a link.

use super::*;
use crate::standing::{Interface, Wrapping};

/// A process (99) that fills eth0 with 8 MiB/s.
fn sender(comm: &str, words: &str) -> Scene {
    let mut scene = Scene::new();
    let (sender, eth0) = (scene.process(99, comm), scene.place("eth0"));
    scene.books.processes[sender].cmdline = words.into();
    let mut known = standing(99, words);
    known.connections = vec![("10.0.0.1:40000".to_owned(), "10.0.0.2:873".to_owned())];
    scene.books.standings.insert(sender, known);
    scene.books.means.commands = vec!["trickle".to_owned(), "tc".to_owned()];
    scene.books.means.interfaces = vec![Interface {
        name: "eth0".to_owned(),
        qdisc: "tbf".to_owned(),
        major: 0x8001,
        ..Interface::default()
    }];
    holds(&mut scene, Resource::Network, sender, 16 << 20);
    let holder = Holder::Process(sender);
    scene
        .threads(Class::Network, 40)
        .charge(Resource::Network, Some(eth0), holder, 40)
}

#[test]
fn rsync_over_the_network_is_told_to_send_half_as_fast() {
    let remedy = of(&sender("rsync", "rsync -a /srv backup:/srv"), "--bwlimit");
    assert!(remedy.applies);
    assert_eq!(
        remedy.command,
        "kill 99 && sleep 1 && rsync --bwlimit=4096 -a /srv backup:/srv"
    );
    for words in ["--bwlimit=9m -a", "--bwlimit 9m -a"] {
        let limited = sender("rsync", &format!("rsync {words} /srv backup:/srv"));
        let lowered = of(&limited, "rsync --bwlimit=4096");
        assert!(
            lowered.applies && lowered.note.contains("--bwlimit=9m lowered"),
            "{}",
            lowered.note
        );
        assert!(
            lowered
                .command
                .ends_with(" --bwlimit=4096 -a /srv backup:/srv")
        );
    }
    let mut idle = sender("rsync", "rsync -a /srv backup:/srv");
    idle.books.held.clear();
    does_nothing(&of(&idle, "--bwlimit"), "too little");
    let served = sender("rsync", "rsync --server --sender -e.Lsf . /srv");
    does_nothing(&of(&served, "--bwlimit"), "another machine");
    let curl = judge(&sender("curl", "curl https://example.org").books).remedies;
    assert!(!curl.iter().any(|remedy| remedy.command.contains("bwlimit")));
}

#[test]
fn words_that_a_shell_would_tear_are_quoted() {
    let mut scene = sender("rsync", "rsync -a X backup:/srv");
    let rsync = culprit(&mut scene);
    rsync.arguments[2] = "it's; rm -rf $HOME".to_owned();
    (rsync.cwd, rsync.uid) = ("/my data".to_owned(), 1000);
    assert_eq!(
        of(&scene, "--bwlimit").command,
        "kill 99 && sleep 1 && cd '/my data' && runuser -u \"$(id -nu 1000)\" -- \
         rsync --bwlimit=4096 -a 'it'\\''s; rm -rf $HOME' backup:/srv"
    );
}

#[test]
fn trickle_slows_what_a_library_can_be_preloaded_into() {
    let mut scene = sender("scp", "scp /srv/x backup:/srv");
    assert_eq!(
        of(&scene, "trickle").command,
        "kill 99 && sleep 1 && trickle -s -u 4096 scp /srv/x backup:/srv"
    );
    assert!(of(&scene, "trickle").applies);
    for (program, because) in [
        (Program::Static, "statically"),
        (Program::Go, "Go program"),
        (Program::SetUid, "setuid"),
        (Program::Unknown, "could not be read"),
    ] {
        culprit(&mut scene).program = program;
        does_nothing(&of(&scene, "trickle"), because);
    }
    culprit(&mut scene).program = Program::Dynamic;
    let connections = std::mem::take(&mut culprit(&mut scene).connections);
    does_nothing(&of(&scene, "trickle"), "no TCP connection");
    culprit(&mut scene).connections = connections;
    scene.books.means.commands.clear();
    does_nothing(&of(&scene, "trickle"), "not installed");
}

#[test]
fn a_class_below_a_shaper_leaves_the_links_rate_alone() {
    let remedy = of(&sender("rsync", "rsync -a /srv backup:/srv"), "tc class");
    assert!(remedy.applies, "{}", remedy.note);
    assert_eq!(
        remedy.command,
        "tc qdisc replace dev eth0 parent 8001:1 handle 7ace: htb \
         && tc class replace dev eth0 parent 7ace: classid 7ace:1 htb rate 33554kbit ceil 33554kbit \
         && tc filter add dev eth0 parent 7ace: protocol ip u32 match ip dst 10.0.0.2/32 match ip sport 40000 0xffff \
         match ip dport 873 0xffff flowid 7ace:1"
    );
}

#[test]
fn a_class_is_not_advised_where_it_would_undo_a_shaping_or_match_nothing() {
    let mut scene = sender("rsync", "rsync -a /srv backup:/srv");
    for (qdisc, because) in [
        ("cake", "shapes the link"),
        ("htb", "has classes already"),
        ("", "is not known"),
    ] {
        scene.books.means.interfaces[0].qdisc = qdisc.to_owned();
        does_nothing(&of(&scene, "tc class"), because);
    }
    scene.books.means.interfaces[0].qdisc = "fq_codel".to_owned();
    assert!(
        of(&scene, "tc class")
            .command
            .starts_with("tc qdisc replace dev eth0 root")
    );
    culprit(&mut scene).connections.clear();
    does_nothing(&of(&scene, "tc class"), "no connection");
    scene.books.means.interfaces[0].name = "eth1".to_owned();
    does_nothing(&of(&scene, "tc class"), "another network namespace");
}

#[test]
fn a_filter_looks_into_no_tunnel() {
    let mut scene = sender("rsync", "rsync -a /srv backup:/srv");
    scene.books.wrapping = vec![Wrapping {
        name: "wg0".to_owned(),
        addresses: vec!["10.0.0.1".to_owned()],
    }];
    does_nothing(&of(&scene, "tc class"), "inside those of wg0");
    // A connection beside the tunnel is found.
    let beside = ("10.0.1.1:40001".to_owned(), "10.0.1.2:873".to_owned());
    culprit(&mut scene).connections.push(beside);
    assert!(of(&scene, "tc class").applies);
    assert_eq!(
        filters(&scene),
        ["10.0.1.2/32 match ip sport 40001 0xffff match ip dport 873 0xffff"]
    );
    // Where the tunnel itself has the queue, its own packets are found.
    scene.books.wrapping[0].name = "eth0".to_owned();
    assert_eq!(filters(&scene).len(), 2);
}

/// The filters of the command, each from its address on.
fn filters(scene: &Scene) -> Vec<String> {
    let command = of(scene, "tc class").command;
    let parts = command.split(" match ip dst ").skip(1);
    let filter = |part: &str| part.split(" flowid").next().unwrap_or_default().to_owned();
    parts.map(filter).collect()
}

fn connections(ends: &[(&str, &str)]) -> Vec<(String, String)> {
    let ends = ends.iter();
    ends.map(|(local, remote)| ((*local).to_owned(), (*remote).to_owned()))
        .collect()
}

#[test]
fn a_filter_takes_the_flow_of_the_culprit_whichever_port_is_lower() {
    // The culprit serves at a port above the ephemeral one of its client.
    let mut scene = sender("backupd", "backupd");
    culprit(&mut scene).connections = connections(&[("10.0.0.1:50000", "10.0.0.2:40000")]);
    assert_eq!(
        filters(&scene),
        ["10.0.0.2/32 match ip sport 50000 0xffff match ip dport 40000 0xffff"]
    );
    // A socket of IPv6 sends IPv4 to a mapped address.
    culprit(&mut scene).connections =
        connections(&[("[::ffff:10.0.0.1]:50000", "[::ffff:10.0.0.2]:40000")]);
    assert_eq!(
        filters(&scene),
        ["10.0.0.2/32 match ip sport 50000 0xffff match ip dport 40000 0xffff"]
    );
}

#[test]
fn several_flows_to_one_service_share_a_filter_unless_the_target_talks_to_it_too() {
    let mut scene = sender("mc", "mc mirror /srv store/backup");
    let flows = [
        ("10.0.0.1:50001", "10.0.0.2:9000"),
        ("10.0.0.1:50002", "10.0.0.2:9000"),
    ];
    culprit(&mut scene).connections = connections(&flows);
    assert_eq!(filters(&scene), ["10.0.0.2/32 match ip dport 9000 0xffff"]);
    let mut target = standing(10, "nginx");
    target.connections = connections(&[("10.0.0.1:50003", "10.0.0.2:9000")]);
    scene.books.standings.insert(0, target);
    assert_eq!(
        filters(&scene),
        [
            "10.0.0.2/32 match ip sport 50001 0xffff match ip dport 9000 0xffff",
            "10.0.0.2/32 match ip sport 50002 0xffff match ip dport 9000 0xffff"
        ]
    );
    // Flows from one service to several clients of one address share the own port.
    let flows = [
        ("10.0.0.1:9000", "10.0.0.2:50001"),
        ("10.0.0.1:9000", "10.0.0.2:50002"),
    ];
    culprit(&mut scene).connections = connections(&flows);
    assert_eq!(filters(&scene), ["10.0.0.2/32 match ip sport 9000 0xffff"]);
}
