//! A local object store whose writes survive a power loss.
//!
//! The local store of the `object_store` crate issues no fsync at all, and a Delta log whose newest
//! entry came back empty loads silently as an empty commit. This wrapper writes a temporary file,
//! syncs it, links or renames it into place and syncs the directory. It covers everything that the
//! Delta library writes: commits, checkpoints and the pointer to the last checkpoint.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use uuid::Uuid;

const STORE: &str = "durable local store";

/// A local directory as an object store; every successful put is on stable storage.
#[derive(Debug)]
pub struct DurableStore {
    inner: LocalFileSystem,
    root: PathBuf,
}

impl DurableStore {
    /// The store of everything under `root`, which must exist.
    pub fn new(root: &FsPath) -> Result<Self> {
        let inner = LocalFileSystem::new_with_prefix(root)?;
        Ok(Self {
            inner,
            root: root.to_path_buf(),
        })
    }
}

impl DurableStore {
    /// The files of a directory whose names come after one of its own; `None` where it holds more
    /// than files, or changes meanwhile.
    fn files_after(&self, dir: &Path, offset: &Path) -> Option<Vec<ObjectMeta>> {
        let after = offset.as_ref().strip_prefix(dir.as_ref())?;
        let after = after.strip_prefix('/').filter(|name| !name.contains('/'))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(self.inner.path_to_filesystem(dir).ok()?).ok()? {
            let entry = entry.ok()?;
            if !entry.file_type().ok()?.is_file() {
                return None;
            }
            let name = entry.file_name();
            let name = name.to_str()?;
            if name <= after {
                continue;
            }
            let metadata = entry.metadata().ok()?;
            found.push(ObjectMeta {
                location: Path::parse(format!("{dir}/{name}")).ok()?,
                last_modified: metadata.modified().ok()?.into(),
                size: metadata.len(),
                e_tag: None,
                version: None,
            });
        }
        Some(found)
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE} at {}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".to_owned(),
                    implementer: STORE.to_owned(),
                });
            }
        };
        let target = self.inner.path_to_filesystem(location)?;
        let written = tokio::task::spawn_blocking(move || put_durably(&target, &payload, create));
        match written
            .await
            .map_err(|source| Error::JoinError { source })?
        {
            Ok(()) => Ok(PutResult {
                e_tag: None,
                version: None,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists {
                    path: location.to_string(),
                    source: Box::new(error),
                })
            }
            Err(error) => Err(Error::Generic {
                store: STORE,
                source: Box::new(error),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Nothing that the sink lets the library write is large enough to come here; an upload
        // that is not synced would break the promise of this store.
        Err(Error::NotImplemented {
            operation: "multipart upload".to_owned(),
            implementer: STORE.to_owned(),
        })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    // Every commit asks what came after the version that it builds on. The inner store makes a URL of
    // every entry that the log still holds, which is what made commits dearer as the log grew.
    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix.and_then(|prefix| self.files_after(prefix, offset)) {
            Some(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
            None => self.inner.list_with_offset(prefix, offset),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let (from, to) = (
            self.inner.path_to_filesystem(from)?,
            self.inner.path_to_filesystem(to)?,
        );
        let synced = tokio::task::spawn_blocking(move || {
            File::open(&to)?.sync_all()?;
            sync_parent(&to)?;
            sync_parent(&from)
        });
        synced
            .await
            .map_err(|source| Error::JoinError { source })?
            .map_err(|error| Error::Generic {
                store: STORE,
                source: Box::new(error),
            })
    }
}

fn put_durably(target: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
    write_durably(target, create, |file| {
        payload.iter().try_for_each(|part| file.write_all(part))
    })
}

/// Writes a whole file under a temporary name, syncs it, and puts it in place with its directory
/// synced. With `create` an existing file is an error of kind `AlreadyExists`.
pub fn write_durably(
    target: &FsPath,
    create: bool,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let parent = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    create_dir_durably(parent)?;
    // The dot keeps the file out of every reader's and the vacuum's listing.
    let temporary = parent.join(format!(".{}.tmp", Uuid::new_v4()));
    let result = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)?;
        write(&mut file)?;
        file.sync_all()?;
        if create {
            fs::hard_link(&temporary, target)
        } else {
            fs::rename(&temporary, target)
        }
    })();
    if create || result.is_err() {
        // A left-over temporary file is harmless; the error that matters is the one before.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_dir(parent)
}

/// Creates a directory and those above it, and syncs the entries that are new.
pub fn create_dir_durably(dir: &FsPath) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dir_durably(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => sync_parent(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the entries of a directory durable.
pub fn sync_dir(dir: &FsPath) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        FsPath::new(".")
    } else {
        dir
    };
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &FsPath) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// The store as the Delta library wants it: of the whole file system, since the library itself
/// puts a table's path before every name.
pub(crate) fn whole() -> Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(DurableStore::new(FsPath::new("/"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;

    #[tokio::test]
    async fn a_second_create_of_one_name_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = DurableStore::new(dir.path()).expect("store");
        let at = Path::from("_delta_log/0.json");
        let create = || PutOptions {
            mode: PutMode::Create,
            ..Default::default()
        };
        store
            .put_opts(&at, "one".into(), create())
            .await
            .expect("first");
        let second = store.put_opts(&at, "two".into(), create()).await;
        assert!(
            matches!(second, Err(Error::AlreadyExists { .. })),
            "{second:?}"
        );
        let bytes = store
            .get(&at)
            .await
            .expect("get")
            .bytes()
            .await
            .expect("bytes");
        assert_eq!(&bytes[..], b"one");
        let left: Vec<_> = fs::read_dir(dir.path().join("_delta_log"))
            .expect("list")
            .collect();
        assert_eq!(left.len(), 1, "a temporary file was left behind");
    }

    #[tokio::test]
    async fn a_listing_from_a_name_on_leaves_out_what_is_before() {
        use futures::TryStreamExt as _;

        let dir = tempfile::tempdir().expect("temporary directory");
        let store = DurableStore::new(dir.path()).expect("store");
        for name in ["log/1.json", "log/2.json", "log/3.json"] {
            store.put(&name.into(), "x".into()).await.expect("put");
        }
        let listed = store.list_with_offset(Some(&"log".into()), &"log/1.json".into());
        let mut listed: Vec<String> = listed
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .expect("listed");
        listed.sort_unstable();
        assert_eq!(listed, ["log/2.json", "log/3.json"]);
    }
}
