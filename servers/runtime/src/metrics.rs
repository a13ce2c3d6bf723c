//! Figures of the whole process, for Prometheus (`docs/metrics.md`).
//!
//! They are one static because that is what they are: of the process, whoever in it counts. Counting is one relaxed
//! atomic addition. Nothing here names a user or an address, and the number of series is fixed.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The figures of this process.
pub static METRICS: Metrics = Metrics::new();

/// Something that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

/// Something that goes up and down.
#[derive(Debug)]
pub struct Gauge(AtomicI64);

/// One more, as long as this lives.
#[derive(Debug)]
pub struct Counted(&'static Gauge);

/// How long something took.
#[derive(Debug)]
pub struct Histogram {
    /// Not cumulative; the last is everything longer.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_micros: AtomicU64,
}

/// Upper bounds of the histogram's buckets.
const BUCKETS: [(Duration, &str); 12] = [
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_micros(2_500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_secs(1), "1"),
    (Duration::from_secs(5), "5"),
    (Duration::from_secs(30), "30"),
];

/// What is counted of each protocol.
#[derive(Debug)]
pub struct ProtocolMetrics {
    /// Connections open now.
    pub connections: Gauge,
    /// Connections that were let in.
    pub sessions: Counter,
    /// Connections that a limit refused.
    pub refused: Counter,
    /// Commands carried out or refused.
    pub commands: Counter,
    /// Bytes read from clients, TLS included.
    pub received_bytes: Counter,
    /// Bytes sent to clients, TLS included.
    pub sent_bytes: Counter,
    /// TLS handshakes that failed.
    pub failed_handshakes: Counter,
}

/// All figures.
#[derive(Debug)]
pub struct Metrics {
    /// IMAP's.
    pub imap: ProtocolMetrics,
    /// POP3's.
    pub pop3: ProtocolMetrics,
    /// LMTP's.
    pub lmtp: ProtocolMetrics,
    /// Logins that succeeded.
    pub logins_ok: Counter,
    /// Logins with a wrong name or password.
    pub logins_failed: Counter,
    /// Logins that could not be looked at.
    pub logins_error: Counter,
    /// Copies of messages that were delivered by LMTP.
    pub deliveries_ok: Counter,
    /// Copies of messages that could not be delivered.
    pub deliveries_failed: Counter,
    /// From handing a change to the store until it is acknowledged.
    pub commit: Histogram,
    /// Mailboxes that sessions have selected now.
    pub selected_mailboxes: Gauge,
    /// Configurations that were read again.
    pub reloads_ok: Counter,
    /// Configurations that had an error when read again.
    pub reloads_failed: Counter,
}

/// A figure that is looked up when it is asked for.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Its labels, as `{name="value"}`, or nothing.
    pub labels: &'static str,
    /// Its value.
    pub value: u64,
}

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Several more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// One more until what this returns is dropped.
    #[must_use]
    pub fn count(&'static self) -> Counted {
        self.0.fetch_add(1, Relaxed);
        Counted(self)
    }

    /// How many now.
    pub fn value(&self) -> u64 {
        u64::try_from(self.0.load(Relaxed)).unwrap_or(0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

impl Histogram {
    const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS.len() + 1], sum_micros: AtomicU64::new(0) }
    }

    /// Something took so long.
    pub fn observe(&self, time: Duration) {
        let at = BUCKETS.partition_point(|(bound, _)| *bound < time);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl ProtocolMetrics {
    const fn new() -> Self {
        Self {
            connections: Gauge::new(),
            sessions: Counter::new(),
            refused: Counter::new(),
            commands: Counter::new(),
            received_bytes: Counter::new(),
            sent_bytes: Counter::new(),
            failed_handshakes: Counter::new(),
        }
    }
}

impl Metrics {
    const fn new() -> Self {
        Self {
            imap: ProtocolMetrics::new(),
            pop3: ProtocolMetrics::new(),
            lmtp: ProtocolMetrics::new(),
            logins_ok: Counter::new(),
            logins_failed: Counter::new(),
            logins_error: Counter::new(),
            deliveries_ok: Counter::new(),
            deliveries_failed: Counter::new(),
            commit: Histogram::new(),
            selected_mailboxes: Gauge::new(),
            reloads_ok: Counter::new(),
            reloads_failed: Counter::new(),
        }
    }

    /// Everything, with these samples too, in Prometheus' text format 0.0.4.
    pub fn render(&self, samples: &[Sample]) -> String {
        let mut out = String::with_capacity(8 * 1024);
        self.put_protocols(&mut out);
        let outcomes = |ok: &Counter, failed: &Counter| [("ok", ok.value()), ("failed", failed.value())];
        let [ok, failed] = outcomes(&self.logins_ok, &self.logins_failed);
        let logins = [ok, failed, ("error", self.logins_error.value())];
        put(&mut out, "culver_logins_total", "counter", "Logins by outcome.", "outcome", &logins);
        let deliveries = outcomes(&self.deliveries_ok, &self.deliveries_failed);
        put(
            &mut out,
            "culver_deliveries_total",
            "counter",
            "Copies of messages delivered by LMTP.",
            "outcome",
            &deliveries,
        );
        let reloads = outcomes(&self.reloads_ok, &self.reloads_failed);
        put(&mut out, "culver_reloads_total", "counter", "Configurations read again.", "outcome", &reloads);
        self.put_commit(&mut out);
        let selected = ("", self.selected_mailboxes.value());
        let help = "Mailboxes that sessions have selected.";
        put(&mut out, "culver_selected_mailboxes", "gauge", help, "", &[selected]);
        put_samples(&mut out, samples);
        out
    }

    fn put_protocols(&self, out: &mut String) {
        let mut family = |name, kind, help, of: fn(&ProtocolMetrics) -> u64| {
            let values = [("imap", of(&self.imap)), ("pop3", of(&self.pop3)), ("lmtp", of(&self.lmtp))];
            put(out, name, kind, help, "protocol", &values);
        };
        family("culver_connections", "gauge", "Connections open now.", |p| p.connections.value());
        family("culver_sessions_total", "counter", "Connections let in.", |p| p.sessions.value());
        family("culver_refused_connections_total", "counter", "Connections that a limit refused.", |p| {
            p.refused.value()
        });
        family("culver_commands_total", "counter", "Commands.", |p| p.commands.value());
        family("culver_received_bytes_total", "counter", "Bytes read from clients.", |p| p.received_bytes.value());
        family("culver_sent_bytes_total", "counter", "Bytes sent to clients.", |p| p.sent_bytes.value());
        let help = "TLS handshakes that failed.";
        family("culver_failed_handshakes_total", "counter", help, |p| p.failed_handshakes.value());
    }

    fn put_commit(&self, out: &mut String) {
        const NAME: &str = "culver_commit_seconds";
        head(out, NAME, "histogram", "From handing a change to the store until it is acknowledged.");
        let mut count = 0;
        for (bucket, (_, bound)) in self.commit.buckets.iter().zip(BUCKETS) {
            count += bucket.load(Relaxed);
            let _ = writeln!(out, "{NAME}_bucket{{le=\"{bound}\"}} {count}");
        }
        count += self.commit.buckets.last().map_or(0, |longer| longer.load(Relaxed));
        let micros = self.commit.sum_micros.load(Relaxed);
        let _ = writeln!(out, "{NAME}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{NAME}_sum {}.{:06}\n{NAME}_count {count}", micros / 1_000_000, micros % 1_000_000);
    }
}

/// Writing into a string cannot fail.
fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn put(out: &mut String, name: &str, kind: &str, help: &str, label: &str, values: &[(&str, u64)]) {
    head(out, name, kind, help);
    for (value_of_label, value) in values {
        let _ = match label {
            "" => writeln!(out, "{name} {value}"),
            label => writeln!(out, "{name}{{{label}=\"{value_of_label}\"}} {value}"),
        };
    }
}

fn put_samples(out: &mut String, samples: &[Sample]) {
    let mut last = "";
    for Sample { name, help, labels, value } in samples {
        if *name != last {
            head(out, name, "gauge", help);
            last = name;
        }
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_in_order() {
        let metrics = Metrics::new();
        for micros in [1, 500, 501, 2_000_000, 60_000_000] {
            metrics.commit.observe(Duration::from_micros(micros));
        }
        let text = metrics.render(&[]);
        for line in [
            "culver_commit_seconds_bucket{le=\"0.0005\"} 2",
            "culver_commit_seconds_bucket{le=\"0.001\"} 3",
            "culver_commit_seconds_bucket{le=\"5\"} 4",
            "culver_commit_seconds_bucket{le=\"30\"} 4",
            "culver_commit_seconds_bucket{le=\"+Inf\"} 5",
            "culver_commit_seconds_sum 62.001002",
            "culver_commit_seconds_count 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(BUCKETS.is_sorted());
        for (bound, text) in BUCKETS {
            assert!((bound.as_secs_f64() - text.parse::<f64>().unwrap()).abs() < 1e-9);
        }
    }

    #[test]
    fn a_family_has_one_head() {
        let sample = |labels, value| Sample { name: "a", help: "A.", labels, value };
        let text = Metrics::new().render(&[sample("{x=\"1\"}", 1), sample("{x=\"2\"}", 2)]);
        assert!(text.ends_with("# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n"), "{text}");
        let mut heads: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), count);
    }

    #[test]
    fn gauges_go_down_again() {
        static GAUGE: Gauge = Gauge::new();
        let (one, two) = (GAUGE.count(), GAUGE.count());
        assert_eq!(GAUGE.value(), 2);
        drop((one, two));
        assert_eq!(GAUGE.value(), 0);
    }
}
