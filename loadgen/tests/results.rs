//! Results of other tools, from their files through the spool and back; nothing but the log of the
//! test's own directory is touched.

mod results {
    mod bed;
    mod csv;
    mod hostile;
    mod jmh;
    mod k6;
}
