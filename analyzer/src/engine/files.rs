//! Any Parquet files as a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::prelude::SessionContext;
use url::Url;

use super::EngineError;
use super::error::plain;

/// Files that one pattern may name.
const MAX_FILES: usize = 100_000;

/// Registers a file, a directory or a pattern under a name.
pub(super) async fn register(
    context: &SessionContext,
    name: &str,
    place: &str,
) -> std::result::Result<(), EngineError> {
    let fail = |reason: String| EngineError::Files {
        name: name.to_owned(),
        place: place.to_owned(),
        reason,
    };
    let plain_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain_name) {
        return Err(fail(
            "a table's name consists of a to z, 0 to 9 and _".to_owned(),
        ));
    }
    if context
        .table_exist(name)
        .map_err(|error| fail(plain(&error)))?
    {
        return Err(fail(
            "there is a table of that name already; choose another".to_owned(),
        ));
    }
    let files = find(place).map_err(&fail)?;
    let urls: Option<Vec<ListingTableUrl>> = files.iter().map(|file| url_of(file)).collect();
    let urls = urls.ok_or_else(|| fail("its path is not a URL".to_owned()))?;
    let table = table(context, urls)
        .await
        .map_err(|error| fail(plain(&error)))?;
    context
        .register_table(name, Arc::new(table))
        .map_err(|error| fail(plain(&error)))?;
    Ok(())
}

/// The files that a person means. In a directory, also in those below it, only Parquet files
/// count; a file that is named is read whatever its name.
fn find(place: &str) -> std::result::Result<Vec<PathBuf>, String> {
    let path = Path::new(place);
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let pattern = if path.is_dir() {
        format!(
            "{}/**/*.parquet",
            glob::Pattern::escape(place.trim_end_matches('/'))
        )
    } else {
        place.to_owned()
    };
    let found = glob::glob(&pattern).map_err(|error| format!("the pattern is wrong: {error}"))?;
    let mut files = Vec::new();
    for file in found {
        let file = file.map_err(|error| error.to_string())?;
        if file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files match; name fewer"));
        }
    }
    if files.is_empty() {
        return Err("there is no such file, and no Parquet file matches".to_owned());
    }
    Ok(files)
}

/// A URL that names one file, whatever characters its path has.
fn url_of(file: &Path) -> Option<ListingTableUrl> {
    let file = std::path::absolute(file).ok()?;
    ListingTableUrl::try_new(Url::from_file_path(file).ok()?, None).ok()
}

async fn table(context: &SessionContext, urls: Vec<ListingTableUrl>) -> Result<ListingTable> {
    let format =
        ParquetFormat::default().with_options(context.state().table_options().parquet.clone());
    let options = ListingOptions::new(Arc::new(format)).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .infer_schema(&context.state())
        .await?;
    ListingTable::try_new(config)
}
