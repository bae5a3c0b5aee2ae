//! Control groups by the names that people use: a systemd unit, a container, a path. And what people call a container.
//!
//! All of it may hang: the kernel may have one lock for all groups, and state files lie on disks. None of it is for the thread that reads
//! the rings.

mod folders;
mod names;
mod wanted;

pub(crate) use self::{
    folders::members,
    names::called,
    wanted::{GroupsNotFound, WantedGroup, find_groups},
};
