//! What was found, told to a webhook: `[notify]` of the configuration. Payloads and delivery are
//! decided in `driftline_analyzer::notify`; here is where the address comes from, and what is told.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use driftline_analyzer::notify::{
    Address, Notice, Severity as NoticeSeverity, Style, Webhook, WebhookSpec, render,
};
use driftline_analyzer::{Finding, Severity};
use serde::Deserialize;

use crate::cli::Settings;
use crate::{facts, query};

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at a delivery.
const ATTEMPTS: u32 = 4;

/// Where findings are told. An address may hold a secret, so it never stands in the configuration
/// itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NotifyConfig {
    /// The file that holds the webhook's address.
    pub(crate) webhook_file: Option<PathBuf>,
    /// The variable of the environment that holds it.
    pub(crate) webhook_env: Option<String>,
    /// `json`, `slack` or `alertmanager`.
    pub(crate) style: Style,
    /// Certificates of authorities to trust beside the system's, as a PEM file.
    pub(crate) ca_file: Option<PathBuf>,
}

impl NotifyConfig {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.webhook_file.is_some() && self.webhook_env.is_some() {
            bail!("notify.webhook_file and notify.webhook_env exclude each other; keep one");
        }
        Ok(())
    }

    fn address(&self) -> anyhow::Result<Option<Address>> {
        let text = match (&self.webhook_file, &self.webhook_env) {
            (Some(path), _) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the webhook's address {}", path.display()))?,
            (None, Some(name)) => std::env::var(name).with_context(|| {
                format!("the variable {name} is to hold the webhook's address, and is not set")
            })?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Address::parse(text.trim())?))
    }
}

/// Tells regressions to the webhook, where there is one.
pub(crate) fn tell(settings: &Settings, findings: &[&Finding]) -> anyhow::Result<()> {
    let worse = |finding: &&&Finding| finding.severity == Severity::Regression;
    let notices = findings.iter().filter(worse).map(|f| notice(f, None));
    deliver(settings, notices.collect())
}

/// Tells the webhook, where there is one, that these are over by now.
pub(crate) fn tell_ended(settings: &Settings, findings: &[&Finding]) -> anyhow::Result<()> {
    let now_us = facts::now_us();
    let notices = findings.iter().map(|f| notice(f, Some(now_us)));
    deliver(settings, notices.collect())
}

fn deliver(settings: &Settings, notices: Vec<Notice>) -> anyhow::Result<()> {
    let config = &settings.config.notify;
    let Some(address) = config.address()?.filter(|_| !notices.is_empty()) else {
        return Ok(());
    };
    let webhook = Webhook::new(WebhookSpec {
        address,
        timeout: TIMEOUT,
        attempts: ATTEMPTS,
        back_off: None,
        ca: config.ca_file.clone(),
    })?;
    query::runtime()?.block_on(async {
        for payload in render(config.style, &notices, facts::now_us()) {
            webhook
                .deliver(&payload)
                .await
                .context("the findings are kept, but the webhook was not reached")?;
        }
        anyhow::Ok(())
    })
}

fn notice(finding: &Finding, ended_at_us: Option<i64>) -> Notice {
    let first = finding.evidence.first();
    let share = |percent: f64| percent / 100.0;
    let interval = first.and_then(|first| first.interval_pct);
    Notice {
        id: finding.id.clone(),
        title: finding.title.clone(),
        severity: NoticeSeverity::Warning,
        summary: finding
            .causes
            .iter()
            .map(|cause| format!("suspect: {}", cause.what))
            .collect::<Vec<_>>()
            .join("; "),
        labels: finding.scope.iter().cloned().collect(),
        effect: first.and_then(|first| first.effect_pct).map(share),
        interval: interval.map(|(lo, hi)| (share(lo), share(hi))),
        started_at_us: finding.onset_us,
        ended_at_us,
        link: None,
        sql: Some(finding.sql.clone()),
    }
}
