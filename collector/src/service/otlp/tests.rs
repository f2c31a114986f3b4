//! OTLP as senders meet it: points in all forms, both transports, and what is refused.

mod points;
mod transport;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::*;
use crate::service::foreign::testing::NOW_US;

const DELTA: i32 = 1;
const CUMULATIVE: i32 = 2;

/// Nanoseconds of a time so many microseconds after the time of tests.
fn at(after_us: i64) -> u64 {
    u64::try_from(NOW_US + after_us).expect("after 1970") * 1_000
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Value::StringValue(value.to_owned());
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn number(after_us: i64, value: f64, attributes: &[(&str, &str)]) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes
            .iter()
            .map(|(key, value)| attribute(key, value))
            .collect(),
        start_time_unix_nano: at(-1_000_000),
        time_unix_nano: at(after_us),
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: "words".to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn gauge(name: &str, points: Vec<NumberDataPoint>) -> Metric {
    metric(
        name,
        "By",
        Data::Gauge(Gauge {
            data_points: points,
        }),
    )
}

fn sum(name: &str, temporality: i32, monotonic: bool, points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum {
        data_points: points,
        aggregation_temporality: temporality,
        is_monotonic: monotonic,
    };
    metric(name, "{request}", Data::Sum(sum))
}

fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "shop"),
            attribute("process.pid", "7"),
        ],
        ..Resource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}
