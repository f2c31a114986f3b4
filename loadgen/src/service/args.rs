//! The options of `driftline target`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::control::Knobs;
use super::distribution::{Distribution, parse_duration};
use super::{LogTo, ServiceConfig};

/// The bundled HTTP and WebSocket service, made to be loaded: fast, and misbehaving on demand.
///
/// Distributions of time are written as 0, 5ms, exp:5ms, lognormal:5ms:0.5 (median, sigma),
/// uniform:1ms:10ms or pareto:1ms:1.5 (least, shape).
///
/// Examples:
///
///   driftline target
///
///   driftline target --listen 127.0.0.1:9000 --latency lognormal:5ms:0.5 --error-rate 1%
///
///   driftline target --capacity 64 --service-time 2ms --contention 0.03 --coherency 0.0005
///
///   driftline target --latency 5ms --slow-after 30s --slow-factor 1.3
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Seed of everything random: the same requests in the same order meet the same times and errors
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Time added to every answer, as a distribution
    #[arg(long, value_name = "DIST", default_value = "0")]
    pub latency: Distribution,
    /// Time added to GET /slow
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_duration)]
    pub slow_latency: Duration,
    /// Requests served at a time; the rest queue, first in, first out [default: unlimited]
    #[arg(long, value_name = "N")]
    pub capacity: Option<NonZeroUsize>,
    /// Requests that may queue; further ones get 503
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub queue: usize,
    /// Time that a lone request holds a slot, as a distribution; with --capacity and without this, the
    /// latency holds it
    #[arg(long, value_name = "DIST", default_value = "0")]
    pub service_time: Distribution,
    /// Contention α of the Universal Scalability Law (Gunther 1993): n requests in service take
    /// 1+α(n−1)+βn(n−1) times as long each
    #[arg(long, value_name = "ALPHA", default_value_t = 0.0, value_parser = parse_coefficient)]
    pub contention: f64,
    /// Coherency β of the same law; the throughput is greatest at n = √((1−α)/β)
    #[arg(long, value_name = "BETA", default_value_t = 0.0, value_parser = parse_coefficient)]
    pub coherency: f64,
    /// Share of requests that are answered by 500, as in 1% or 0.01
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_share)]
    pub error_rate: f64,
    /// When the planted slowdown begins, after the start
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub slow_after: Duration,
    /// The planted slowdown multiplies latency and service time by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_coefficient)]
    pub slow_factor: f64,
    /// The planted slowdown adds this to the latency
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub slow_add: Duration,
    /// The planted slowdown strikes this path and those below it only
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub slow_path: String,
    /// When the whole service stalls, after the start: nothing is read or written, though the kernel
    /// still accepts connections
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "stall_for")]
    pub stall_at: Option<Duration>,
    /// How long it stalls
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "stall_at")]
    pub stall_for: Option<Duration>,
    /// Let POST /control switch latency, service_time, error_rate, slow_add_ms, slow_factor and stall,
    /// for whoever reaches the port
    #[arg(long)]
    pub allow_control: bool,
    /// Speak TLS, with a certificate made at the start
    #[arg(long)]
    pub tls: bool,
    /// Write that certificate here, for clients to trust
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub tls_cert_out: Option<PathBuf>,
    /// Write a line for each request: arrival, start of service and end in microseconds since 1970,
    /// status, path
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Largest WebSocket message, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub max_message_bytes: usize,
    /// Messages that wait for a slow member of a room; further ones are lost to it
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    pub room_queue: usize,
    /// A member is disconnected when it has lost so many messages; 0 for never
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub room_patience: u64,
}

impl From<ServiceArgs> for ServiceConfig {
    fn from(args: ServiceArgs) -> Self {
        Self {
            listen: args.listen,
            threads: args.threads,
            seed: args.seed,
            knobs: Knobs {
                latency: args.latency,
                service_time: args.service_time,
                error_rate: args.error_rate,
                slow_factor: args.slow_factor,
                slow_add: args.slow_add,
                slow_after: args.slow_after,
            },
            slow_path: args.slow_path,
            slow_latency: args.slow_latency,
            capacity: args.capacity.map_or(usize::MAX, NonZeroUsize::get),
            queue: args.queue,
            contention: args.contention,
            coherency: args.coherency,
            stall: args.stall_at.zip(args.stall_for),
            allow_control: args.allow_control,
            tls: args.tls,
            tls_cert_out: args.tls_cert_out,
            log: args.log.map_or(LogTo::Nowhere, LogTo::File),
            max_message_bytes: args.max_message_bytes,
            room_queue: args.room_queue,
            room_patience: args.room_patience,
        }
    }
}

/// Reads a share such as `1%` or `0.01`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>().map(|share| share / scale) {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is not a share; write 1% or 0.01")),
    }
}

fn parse_coefficient(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e6).contains(&value) => Ok(value),
        _ => Err(format!("{text:?} is not a number from 0 to 1000000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ServiceArgs,
    }

    fn config(line: &str) -> Result<ServiceConfig, clap::Error> {
        let words = ["target"].into_iter().chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args.into())
    }

    #[test]
    fn without_options_it_is_the_plain_service() {
        let config = config("").expect("no option is needed");
        let plain = ServiceConfig {
            listen: ([127, 0, 0, 1], 8080).into(),
            ..ServiceConfig::default()
        };
        assert_eq!(config, plain);
    }

    #[test]
    fn options_reach_the_configuration() {
        let line = "--latency exp:5ms --capacity 4 --error-rate 1% --stall-at 3s --stall-for 1s";
        let config = config(line).expect("valid");
        assert_eq!(
            config.knobs.latency,
            Distribution::Exponential { mean_s: 0.005 }
        );
        assert_eq!(config.capacity, 4);
        assert_eq!(config.knobs.error_rate, 0.01);
        assert_eq!(
            config.stall,
            Some((Duration::from_secs(3), Duration::from_secs(1)))
        );
    }

    #[test]
    fn impossible_options_are_refused() {
        for line in [
            "--stall-at 3s",
            "--capacity 0",
            "--threads 0",
            "--error-rate 200%",
            "--latency 5",
            "--tls-cert-out a.pem",
            "--coherency -1",
        ] {
            assert!(config(line).is_err(), "{line} was accepted");
        }
    }
}
