//! Comma-separated values by RFC 4180: fields in quotes may hold commas, line ends and doubled
//! quotes. Empty lines are skipped.

/// Records with the line each begins at, from 1; the error is a line and what is wrong there.
pub(super) fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, (usize, String)> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let mut records = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        if reader.take_line_end() {
            continue;
        }
        let mut fields = vec![reader.field()?];
        while reader.take(",") {
            fields.push(reader.field()?);
        }
        reader.take_line_end();
        records.push((line, fields));
    }
    Ok(records)
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl Reader<'_> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_line_end(&mut self) -> bool {
        let taken = self.take("\r\n") || self.take("\n");
        self.line += usize::from(taken);
        taken
    }

    /// One field; afterwards comes a comma, a line end or nothing.
    fn field(&mut self) -> Result<String, (usize, String)> {
        let line = self.line;
        if !self.take("\"") {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            // The return of a line end is not part of the field.
            let field = match rest.starts_with('\n') || rest.is_empty() {
                true => field.strip_suffix('\r').unwrap_or(field),
                false => field,
            };
            if field.contains('"') {
                return Err((
                    line,
                    "a quote inside a field; put the field in quotes and double the quote"
                        .to_owned(),
                ));
            }
            return Ok(field.to_owned());
        }
        let mut field = String::new();
        loop {
            let Some(end) = self.rest.find('"') else {
                return Err((line, "a quote is not closed; close it".to_owned()));
            };
            field.push_str(&self.rest[..end]);
            self.line += self.rest[..end].matches('\n').count();
            self.rest = &self.rest[end + 1..];
            if !self.take("\"") {
                break;
            }
            field.push('"');
        }
        let ends = [",", "\n", "\r\n"];
        if !self.rest.is_empty() && !ends.iter().any(|end| self.rest.starts_with(end)) {
            return Err((
                self.line,
                "text after a closed quote; double the quotes inside a field".to_owned(),
            ));
        }
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_in_quotes_hold_anything() {
        let text = "a,b\r\n\"1,\"\"x\"\"\n2\",\r\n\n\"\",é\n";
        let records = records(text).expect("it is right");
        assert_eq!(
            records,
            [
                (1, vec!["a".to_owned(), "b".to_owned()]),
                (2, vec!["1,\"x\"\n2".to_owned(), String::new()]),
                (5, vec![String::new(), "é".to_owned()]),
            ]
        );
    }

    #[test]
    fn broken_quotes_are_named_by_their_line() {
        assert_eq!(records("a\n\"b").expect_err("unclosed").0, 2);
        assert_eq!(records("a\n\"b\n\"c").expect_err("text after").0, 3);
        assert_eq!(records("a\"b").expect_err("inside").0, 1);
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(
            rows in prop::collection::vec(prop::collection::vec("[a\",\r\n é]{0,6}", 1..4), 0..5)
        ) {
            let line = |row: &Vec<String>| {
                let fields: Vec<String> = row
                    .iter()
                    .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
                    .collect();
                fields.join(",") + "\r\n"
            };
            let text: String = rows.iter().map(line).collect();
            let back: Vec<Vec<String>> = records(&text)
                .expect("it is right")
                .into_iter()
                .map(|(_, fields)| fields)
                .collect();
            prop_assert_eq!(back, rows);
        }
    }
}
