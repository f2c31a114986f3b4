//! The Delta schema of each table, its creation, and the check that a table found is ours.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::{DataType, PrimitiveType, StructField};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::SaveMode;
use deltalake_core::table::state::DeltaTableState;
use driftline_schemas::arrow::{
    PARTITION_COLUMN, events_schema, requests_schema, rollups_schema, samples_schema, series_schema,
};

use super::{TABLE_FORMAT, TABLE_FORMAT_KEY, TableError, TableName, delta_error};

/// The Arrow schema of a table's files.
pub fn arrow_schema(name: TableName) -> SchemaRef {
    match name {
        TableName::Samples => samples_schema(),
        TableName::Requests => requests_schema(),
        TableName::Events => events_schema(),
        TableName::Series => series_schema(),
        TableName::Samples1m | TableName::Samples1h | TableName::Samples1d => rollups_schema(),
    }
}

/// Every field of `driftline_schemas::arrow` has one of these types.
fn delta_type(arrow: &ArrowType) -> PrimitiveType {
    match arrow {
        ArrowType::Timestamp(..) => PrimitiveType::Timestamp,
        ArrowType::Float64 => PrimitiveType::Double,
        ArrowType::Int64 => PrimitiveType::Long,
        ArrowType::Int32 => PrimitiveType::Integer,
        ArrowType::Binary => PrimitiveType::Binary,
        _ => PrimitiveType::String,
    }
}

pub(super) async fn create(
    name: TableName,
    root: &Path,
    log_store: LogStoreRef,
) -> Result<(), TableError> {
    let schema = arrow_schema(name);
    let columns = schema.fields().iter().map(|field| {
        let data_type = DataType::Primitive(delta_type(field.data_type()));
        StructField::new(field.name(), data_type, field.is_nullable())
    });
    let date = StructField::new(
        PARTITION_COLUMN,
        DataType::Primitive(PrimitiveType::Date),
        false,
    );
    DeltaTable::new(Arc::clone(&log_store))
        .create()
        .with_columns(columns.chain([date]))
        .with_partition_columns([PARTITION_COLUMN])
        .with_save_mode(SaveMode::Ignore)
        .with_raise_if_key_not_exists(false)
        .with_configuration([(TABLE_FORMAT_KEY, Some(TABLE_FORMAT.to_string()))])
        .await
        .map(|_| ())
        .map_err(|source| delta_error("create", root, source))
}

pub(super) fn check_ours(root: &Path, state: &DeltaTableState) -> Result<(), TableError> {
    let foreign = |reason: String| TableError::Foreign {
        table: root.to_path_buf(),
        reason,
    };
    match state.metadata().configuration().get(TABLE_FORMAT_KEY) {
        None => Err(foreign(format!("its metadata lacks {TABLE_FORMAT_KEY}"))),
        Some(found) if *found != TABLE_FORMAT.to_string() => Err(foreign(format!(
            "its format is {found}, this build reads {TABLE_FORMAT}"
        ))),
        Some(_) => Ok(()),
    }
}
