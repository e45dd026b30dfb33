//! What the process holds, where the system tells.

/// Most memory that the process has had since its start or [`forget_peak`], in bytes, where the system tells.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Memory that the process has now, in bytes, where the system tells.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Lets [`peak`] begin anew, where the system can.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
