//! What the system tells of processes, and what to make of several rounds.

use std::fs;

use anyhow::Context;

/// One round of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// In the job's unit.
    pub(crate) wall: f64,
    /// Milliseconds of the server's processes, in user and kernel mode.
    pub(crate) cpu: f64,
}

/// The middle one; the mean of the two middle ones of an even number.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (_, _) if values.is_empty() => f64::NAN,
        (middle, 1) => values[middle],
        (middle, _) => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// A process and everything that descends from it.
pub(crate) fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Ok(fields) = stat(pid) {
            parents.push((pid, fields[1].parse::<u32>().unwrap_or(0)));
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(parents.iter().filter(|&&(_, p)| p == parent).map(|&(pid, _)| pid));
        at += 1;
    }
    Ok(tree)
}

/// The fields of `/proc/PID/stat` from the third (state) on.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("stat without a name")?;
    Ok(rest.split(' ').map(str::to_owned).collect())
}

/// Seconds that a process and its descendants have computed, those included that have ended and were waited for.
pub(crate) fn cpu_seconds(root: u32) -> anyhow::Result<f64> {
    // USER_HZ is 100 on every Linux that Rust runs on.
    let ticks = |fields: &[String], range: std::ops::Range<usize>| -> f64 {
        fields[range].iter().filter_map(|n| n.parse::<f64>().ok()).sum()
    };
    let mut seconds = 0.0;
    for pid in tree(root)? {
        if let Ok(fields) = stat(pid) {
            seconds += ticks(&fields, 11..13) / 100.0;
            if pid == root {
                seconds += ticks(&fields, 13..15) / 100.0;
            }
        }
    }
    Ok(seconds)
}

/// Seconds that programs have computed which this process has started and waited for: commands, not servers.
pub(crate) fn waited_seconds() -> anyhow::Result<f64> {
    let fields = stat(std::process::id())?;
    let ticks = fields.get(13..15).context("stat is short")?;
    Ok(ticks.iter().filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// How many processes wanted to run, of late: over one minute, and over five.
pub(crate) fn load() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let words: Vec<&str> = text.split(' ').take(2).collect();
    Ok(words.join(" and "))
}

/// Kilobytes that a process and its descendants hold, shared pages by their share (PSS).
pub(crate) fn memory_kb(root: u32) -> anyhow::Result<f64> {
    let mut kb = 0.0;
    for pid in tree(root)? {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        kb += line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(kb)
}
