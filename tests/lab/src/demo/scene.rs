//! The three scenes.

use anyhow::Result;

use super::{Args, cpu, disk, network, world::World};
use crate::world::Room;

/// A scene, named after the resource that server and backup share in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scene {
    /// A slow loop disk.
    Disk,
    /// A shaped link.
    Network,
    /// One CPU.
    Cpu,
}

impl Scene {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::Disk, Self::Network, Self::Cpu];

    /// Its name, which is the resource that tracer must find.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Cpu => "cpu",
        }
    }

    /// Makes its world.
    pub(crate) fn make(self, args: &Args, room: &Room) -> Result<World> {
        match self {
            Self::Disk => disk::make(args, room),
            Self::Network => network::make(args, room),
            Self::Cpu => cpu::make(args, room),
        }
    }
}
