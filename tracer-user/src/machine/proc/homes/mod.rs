//! What people call a container.
//!
//! To look it up may hang: state files lie on disks. It is not for the thread that reads the rings.

mod names;

pub(crate) use self::names::called;
