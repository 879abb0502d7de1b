//! What the process takes of the machine, under the names that Prometheus has for it. Told on Linux.

use metrics::{Unit, describe_counter, describe_gauge};

const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const FILES: &str = "process_open_fds";
const MOST_FILES: &str = "process_max_fds";
const THREADS: &str = "process_threads";
const BEGAN: &str = "process_start_time_seconds";

pub(super) fn describe() {
    describe_counter!(CPU, Unit::Seconds, "Processor time, in whole seconds");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory that is held");
    describe_gauge!(FILES, "Open files, connections among them");
    describe_gauge!(MOST_FILES, "As many may be open");
    describe_gauge!(THREADS, "Threads");
    describe_gauge!(
        BEGAN,
        Unit::Seconds,
        "When the process began, in seconds since 1970"
    );
}

/// Looks, and tells the recorder. What the system does not tell stays as it was.
pub(super) fn look() {
    #[cfg(target_os = "linux")]
    let _ = linux::look();
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{BEGAN, CPU, FILES, MEMORY, MOST_FILES, THREADS};
    use metrics::{counter, gauge};
    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};

    #[expect(clippy::cast_precision_loss)] // none is near 2^53
    pub(super) fn look() -> ProcResult<()> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = ticks_per_second();
        counter!(CPU).absolute((stat.utime + stat.stime) / ticks);
        gauge!(MEMORY).set((stat.rss * page_size()) as f64);
        gauge!(THREADS).set(stat.num_threads as f64);
        gauge!(BEGAN).set((boot_time_secs()? + stat.starttime / ticks) as f64);
        gauge!(FILES).set(process.fd_count()? as f64);
        if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
            gauge!(MOST_FILES).set(most as f64);
        }
        Ok(())
    }
}
