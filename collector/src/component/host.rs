//! The machine itself: one component per subsystem, so that one that cannot be read costs no other.
//!
//! They read the kernel's own files and exist on Linux alone; elsewhere `host_portable` offers what
//! it can.

mod cpu;
mod disk;
mod files;
mod filesystem;
mod memory;
mod network;
pub(crate) mod pressure;
mod sockets;
mod tcp;
mod vmstat;

use crate::component::Component;
use crate::config::HostConfig;

/// The host's subsystems.
pub(crate) fn components(config: &HostConfig) -> Vec<Box<dyn Component>> {
    let mut all: Vec<Box<dyn Component>> = vec![
        Box::new(cpu::Cpu::new(config)),
        Box::new(cpu::Load::new(config)),
        Box::new(memory::Memory::new(config)),
        Box::new(vmstat::Vmstat::new(config)),
        Box::new(pressure::Pressure::new(config)),
        Box::new(disk::Disks::new(config)),
        Box::new(filesystem::Filesystems::new(config)),
        Box::new(network::Interfaces::new(config)),
        Box::new(network::Softnet::new(config)),
        Box::new(tcp::Counters::new(config)),
        Box::new(sockets::Sockets::new(config)),
        Box::new(files::FileHandles::new(config)),
    ];
    if config.connection_states {
        all.push(Box::new(sockets::Connections::new(config)));
    }
    all
}

/// Ticks of a clock in which the kernel counts CPU time: fixed at 100 per second on every Linux
/// system that this runs on (`USER_HZ`).
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;
