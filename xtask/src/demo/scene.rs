//! The three scenes.

use anyhow::Result;

use super::{
    cpu, disk, network,
    world::{Room, World},
};

/// A scene, named after the resource that server and backup share in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scene {
    /// A slow loop disk.
    Disk,
    /// A shaped link.
    Network,
    /// One CPU.
    Cpu,
}

impl Scene {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Disk, Self::Network, Self::Cpu];

    /// Its name, which is the resource that tracer must find.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Cpu => "cpu",
        }
    }

    /// Makes its world.
    pub fn make(self, room: &Room<'_>) -> Result<World> {
        match self {
            Self::Disk => disk::make(room),
            Self::Network => network::make(room),
            Self::Cpu => cpu::make(room),
        }
    }
}
