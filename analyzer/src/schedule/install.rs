//! Units and manifests that let another scheduler call ours: a systemd timer with its service, or a
//! Kubernetes CronJob.
//!
//! They only say when to look: what is due, what was missed and what is tried again stays with the
//! ledger, which `driftline schedule --once` consults. A timer that fires twice, or beside a
//! scheduler that runs anyway, hence runs nothing twice.

use std::fmt::Write as _;

use croner::{Cron, CronComponent};

use super::plan::LATE_US;
use super::{CatchUp, Job, ScheduleError};

/// Names of the days, as both cron and systemd number them: Sunday is 0.
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Where the product is installed.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The binary: an absolute path, for systemd.
    pub binary: String,
    /// The data directory, an absolute path.
    pub data: String,
    /// The configuration, an absolute path, where there is one.
    pub config: Option<String>,
    /// The container image, for Kubernetes.
    pub image: String,
}

/// A service and a timer for each job, each below a comment with the file's name.
pub fn systemd(jobs: &[Job], at: &Installation) -> Result<String, ScheduleError> {
    let mut text = String::new();
    for job in jobs {
        let unit = format!("driftline-{}", job.name());
        let calendar = on_calendar(job)?;
        let words: Vec<String> = command(job, at)
            .iter()
            .map(|word| systemd_word(word))
            .collect();
        // `last` and `all` are caught up from the ledger; one call after a downtime is enough.
        let persistent = job.catch_up() != CatchUp::None;
        let _ = write!(
            text,
            "\
# /etc/systemd/system/{unit}.service
[Unit]
Description=Driftline: what is due of {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
# Time-outs and retries are the scheduler's own; a stop lets it end its child first.
TimeoutStartSec=infinity
KillMode=mixed
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full

# /etc/systemd/system/{unit}.timer
[Unit]
Description=Driftline: when to look for what is due of {name}

[Timer]
{calendar}AccuracySec=1s
Persistent={persistent}

[Install]
WantedBy=timers.target

",
            name = job.name(),
            command = words.join(" "),
        );
    }
    let timers: Vec<String> = jobs
        .iter()
        .map(|job| format!("driftline-{}.timer", job.name()))
        .collect();
    let _ = writeln!(
        text,
        "# systemctl daemon-reload && systemctl enable --now {}",
        timers.join(" ")
    );
    Ok(text)
}

/// A CronJob for each job. The data directory is a claim of its own, `driftline-data`; the
/// configuration, where there is one, a ConfigMap `driftline-config` with the key `driftline.toml`.
pub fn kubernetes(jobs: &[Job], at: &Installation) -> Result<String, ScheduleError> {
    let mut text =
        String::from("# The ledgers are in the claim: its volume must know file locks.\n");
    if at.config.is_some() {
        text += "# kubectl create configmap driftline-config --from-file=driftline.toml\n";
    }
    let at = Installation {
        data: "/var/lib/driftline".to_owned(),
        config: at
            .config
            .as_ref()
            .map(|_| "/etc/driftline/driftline.toml".to_owned()),
        ..at.clone()
    };
    for job in jobs {
        let schedule = five_fields(job)?;
        text += &cron_job(job, &at, &schedule);
    }
    Ok(text)
}

fn cron_job(job: &Job, at: &Installation, schedule: &str) -> String {
    let words = command(job, at);
    let args: Vec<String> = words.iter().skip(1).map(|word| yaml(word)).collect();
    let (config_mount, config_volume) = match &at.config {
        Some(_) => (
            "                - { name: config, mountPath: /etc/driftline, readOnly: true }\n",
            "            - { name: config, configMap: { name: driftline-config } }\n",
        ),
        None => ("", ""),
    };
    // A Job that cannot start in time is dropped; with catching up, the next one makes up for it.
    let deadline = match job.catch_up() {
        CatchUp::None => format!("  startingDeadlineSeconds: {}\n", LATE_US / 1_000_000),
        CatchUp::Last | CatchUp::All => String::new(),
    };
    format!(
        "\
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: driftline-{name}
  labels: {{ app.kubernetes.io/name: driftline, app.kubernetes.io/component: schedule }}
spec:
  schedule: {schedule}
  timeZone: {zone}
  concurrencyPolicy: Forbid
{deadline}  jobTemplate:
    spec:
      # Retries are the scheduler's own.
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: driftline
              image: {image}
              args: [{args}]
              volumeMounts:
                - {{ name: data, mountPath: /var/lib/driftline }}
{config_mount}          volumes:
            - {{ name: data, persistentVolumeClaim: {{ claimName: driftline-data }} }}
{config_volume}",
        name = job.name(),
        schedule = yaml(schedule),
        zone = yaml(job.cadence().zone()),
        image = yaml(&at.image),
        args = args.join(", "),
    )
}

/// What a timer calls.
fn command(job: &Job, at: &Installation) -> Vec<String> {
    let mut words = vec![
        at.binary.as_str(),
        "schedule",
        "--once",
        "--job",
        job.name(),
    ];
    words.extend(["--data", &at.data]);
    if let Some(config) = &at.config {
        words.extend(["--config", config]);
    }
    words.into_iter().map(str::to_owned).collect()
}

/// The five fields, each as its values.
struct Fields {
    minutes: String,
    hours: String,
    days: String,
    months: String,
    weekdays: String,
    every_day: bool,
    every_weekday: bool,
    days_and_weekdays: bool,
}

/// The fields, their numbers at least so wide.
fn fields(job: &Job, target: &'static str, width: usize) -> Result<Fields, ScheduleError> {
    let cron: &Cron = job.cadence().cron();
    let pattern = &cron.pattern;
    if pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() {
        return Err(refuse(
            job,
            target,
            "its days use L, W or #, which only `driftline schedule` itself knows; list the days, or run that",
        ));
    }
    let weekdays: Vec<&str> = pattern
        .days_of_week
        .values()
        .into_iter()
        .filter_map(|day| DAYS.get(usize::from(day)).copied())
        .collect();
    Ok(Fields {
        minutes: list(&pattern.minutes, 60, width),
        hours: list(&pattern.hours, 24, width),
        days: list(&pattern.days, 31, width),
        months: list(&pattern.months, 12, width),
        weekdays: weekdays.join(","),
        every_day: pattern.is_dom_wildcard(),
        every_weekday: pattern.is_dow_wildcard(),
        days_and_weekdays: pattern.matches_dom_and_dow(),
    })
}

/// The values of a field with so many, or `*` for all of them.
fn list(field: &CronComponent, all: usize, width: usize) -> String {
    let values = field.values();
    if values.len() == all {
        return "*".to_owned();
    }
    let texts: Vec<String> = values
        .iter()
        .map(|value| format!("{value:0width$}"))
        .collect();
    texts.join(",")
}

/// `OnCalendar=` lines. Cron's days match by day of month *or* day of week where both are given,
/// systemd's by both: two lines are either.
fn on_calendar(job: &Job) -> Result<String, ScheduleError> {
    let fields = fields(job, "systemd", 2)?;
    let line = |weekdays: &str, days: &str| {
        let space = if weekdays.is_empty() { "" } else { " " };
        format!(
            "OnCalendar={weekdays}{space}*-{}-{days} {}:{}:00 {}\n",
            fields.months,
            fields.hours,
            fields.minutes,
            job.cadence().zone()
        )
    };
    let (days, weekdays) = (fields.days.as_str(), fields.weekdays.as_str());
    Ok(match (fields.every_day, fields.every_weekday) {
        (true, true) => line("", "*"),
        (false, true) => line("", days),
        (true, false) => line(weekdays, "*"),
        (false, false) if fields.days_and_weekdays => line(weekdays, days),
        (false, false) => line("", days) + &line(weekdays, "*"),
    })
}

/// The expression as a CronJob takes it, which knows no 7 for Sunday and fewer short forms.
fn five_fields(job: &Job) -> Result<String, ScheduleError> {
    let fields = fields(job, "kubernetes", 1)?;
    if fields.days_and_weekdays && !fields.every_day && !fields.every_weekday {
        return Err(refuse(
            job,
            "kubernetes",
            "its days must match both day of month and day of week, which a CronJob cannot say; drop the +",
        ));
    }
    let (days, weekdays) = (fields.days.as_str(), fields.weekdays.as_str());
    let (days, weekdays) = match (fields.every_day, fields.every_weekday) {
        (true, true) => ("*", "*"),
        (false, true) => (days, "*"),
        (true, false) => ("*", weekdays),
        // Either matches: where one of them is every day, so is the whole.
        (false, false) if days == "*" || weekdays.split(',').count() == DAYS.len() => ("*", "*"),
        (false, false) => (days, weekdays),
    };
    Ok(format!(
        "{} {} {days} {} {weekdays}",
        fields.minutes, fields.hours, fields.months
    ))
}

/// A word of a command line in a unit: quoted, with specifiers and variables as plain text.
fn systemd_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '%' | '$' => quoted.extend([c, c]),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A string of YAML, which takes those of JSON.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn refuse(job: &Job, target: &'static str, problem: &str) -> ScheduleError {
    ScheduleError::Install {
        job: job.name().to_owned(),
        target,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests;
