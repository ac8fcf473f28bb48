//! The simulated NIC: captures in and out, ports, RX queues and what the device does with a
//! program's verdict.

pub mod capture;
pub mod device;
pub mod flow;
pub mod redirect;
pub mod replay;
pub mod rss;
