//! The target's own limit.

use super::*;
use crate::standing::OwnLimit;

fn limited(class: Class, limits: &[(Resource, &str, &str)]) -> Scene {
    let resource = class.resource().unwrap();
    let mut scene = Scene::new()
        .threads(class, 40)
        .charge(resource, None, Holder::OwnQuota, 40);
    let limit = |(resource, file, value): &(Resource, &str, &str)| OwnLimit {
        resource: *resource,
        file: (*file).to_owned(),
        value: (*value).to_owned(),
    };
    scene.books.own_limits = limits.iter().map(limit).collect();
    scene
}

#[test]
fn the_targets_own_limit_is_raised_where_it_waits_for_that() {
    let io = (
        Resource::Disk,
        "/c/web.service/io.max",
        "8:0 rbps=1048576 wbps=max riops=max wiops=7",
    );
    let cpu = (Resource::Cpu, "/c/my web/cpu.max", "50000 100000");
    let remedies = judge(&limited(Class::Cpu, &[io, cpu]).books).remedies;
    assert_eq!(remedies.len(), 1);
    assert_eq!(
        remedies[0].command,
        "echo '100000 100000' > '/c/my web/cpu.max'"
    );
    assert!(remedies[0].applies);
    assert!(
        remedies[0]
            .note
            .starts_with("/c/my web/cpu.max has 50000 100000; "),
        "{}",
        remedies[0].note
    );
    let remedies = judge(&limited(Class::Disk, &[io, cpu]).books).remedies;
    assert_eq!(
        remedies[0].command,
        "echo '8:0 rbps=2097152 wiops=14' > /c/web.service/io.max"
    );
    assert!(remedies[0].note.contains("systemctl edit web.service"));
    let old = (Resource::Cpu, "/c/cpu/web/cpu.cfs_quota_us", "50000");
    let remedies = judge(&limited(Class::Cpu, &[old]).books).remedies;
    assert_eq!(
        remedies[0].command,
        "echo 100000 > /c/cpu/web/cpu.cfs_quota_us"
    );
}

#[test]
fn who_waits_for_somebody_else_keeps_the_own_limit() {
    let mut scene = tar_on("bfq");
    scene.books.own_limits = vec![OwnLimit {
        resource: Resource::Disk,
        file: "/c/io.max".to_owned(),
        value: "8:0 rbps=1".to_owned(),
    }];
    let remedies = judge(&scene.books).remedies;
    assert!(
        !remedies
            .iter()
            .any(|remedy| remedy.command.contains("/c/io.max"))
    );
}
