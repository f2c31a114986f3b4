//! From the target of a request to the template of its path, so that all orders are one endpoint:
//! `/orders/1234?x=1` becomes `/orders/{id}`. Pure.

/// Segments that are told apart; what is deeper counts as one.
const MAX_SEGMENTS: usize = 8;
/// A segment that is longer is an id, whatever it is made of.
const MAX_SEGMENT_BYTES: usize = 40;
/// Hexadecimal text of so many letters is an id if there is a digit in it.
const MIN_HEX_BYTES: usize = 8;
/// Mixed text of so many letters is an id if there are `MIN_TOKEN_DIGITS` in it.
const MIN_TOKEN_BYTES: usize = 16;
const MIN_TOKEN_DIGITS: usize = 2;
/// What stands for an id.
const ID: &str = "{id}";
/// What stands for all segments beyond the bound.
const REST: &str = "{rest}";

/// A template that an operator has given: `/shop/{product}/reviews`.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
}

impl Pattern {
    /// `None` for what does not begin with a slash.
    pub(super) fn new(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| Self {
            text: text.to_owned(),
        })
    }

    fn matches(&self, path: &str) -> bool {
        let (mut ours, mut theirs) = (self.text.split('/'), path.split('/'));
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(our), Some(their)) => {
                    let any = our.starts_with('{') && our.ends_with('}');
                    if our != their && (!any || their.is_empty()) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

/// Appends the template of a target's path. The first pattern that matches is taken as it is.
pub(super) fn write_template(target: &str, patterns: &[Pattern], out: &mut String) {
    let path = path_of(target);
    if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(path)) {
        out.push_str(&pattern.text);
        return;
    }
    if !path.starts_with('/') {
        // `*` of OPTIONS, the authority of CONNECT, or nonsense.
        out.push_str(if path == "*" { "*" } else { ID });
        return;
    }
    for (at, segment) in path[1..].split('/').enumerate() {
        out.push('/');
        if at == MAX_SEGMENTS {
            out.push_str(REST);
            return;
        }
        write_segment(segment, out);
    }
}

/// The path of a target, without query, and without scheme and authority where it has them.
fn path_of(target: &str) -> &str {
    let path = match memchr::memchr2(b'?', b'#', target.as_bytes()) {
        Some(end) => &target[..end],
        None => target,
    };
    let Some((scheme, rest)) = path.split_once("://") else {
        return path;
    };
    if scheme.is_empty() || scheme.contains('/') {
        return path;
    }
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// A segment as it is, or with what looks like an id replaced, between its dots: `{id}.js`.
fn write_segment(segment: &str, out: &mut String) {
    if segment.bytes().all(|byte| byte.is_ascii_lowercase()) && segment.len() <= MAX_SEGMENT_BYTES {
        out.push_str(segment);
        return;
    }
    let odd = |byte: u8| !(byte.is_ascii_graphic()) || matches!(byte, b'%' | b'@' | b'{' | b'}');
    if segment.bytes().any(odd) {
        out.push_str(ID);
        return;
    }
    for (at, part) in segment.split('.').enumerate() {
        if at > 0 {
            out.push('.');
        }
        out.push_str(if is_id(part) { ID } else { part });
    }
}

fn is_id(part: &str) -> bool {
    let bytes = part.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return bytes.len() > MAX_SEGMENT_BYTES;
    }
    let hex = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    digits == bytes.len()
        || bytes.len() > MAX_SEGMENT_BYTES
        || (bytes.len() >= MIN_HEX_BYTES && bytes.iter().all(hex))
        || (bytes.len() >= MIN_TOKEN_BYTES && digits >= MIN_TOKEN_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(target: &str) -> String {
        let mut out = String::new();
        write_template(target, &[], &mut out);
        out
    }

    #[test]
    fn ids_are_replaced_and_names_stay() {
        for (target, expected) in [
            ("/", "/"),
            ("/orders/1234?x=1", "/orders/{id}"),
            ("/api/v2/users/me", "/api/v2/users/me"),
            ("/u/123e4567-e89b-12d3-a456-426614174000/x", "/u/{id}/x"),
            ("/blob/deadbeef01", "/blob/{id}"),
            ("/blob/facade", "/blob/facade"),
            ("/static/main.3f2a9c1b.js", "/static/main.{id}.js"),
            ("/img/42.png", "/img/{id}.png"),
            ("/t/eyJhbGciOiJIUzI1NiJ9", "/t/{id}"),
            ("/mail/a@b.example", "/mail/{id}"),
            ("/caf%C3%A9", "/{id}"),
            ("http://x.example:80/a/7", "/a/{id}"),
            ("http://x.example", "/"),
            ("/go/http://x.example/1", "/go/http://x.example/{id}"),
            ("*", "*"),
            ("x.example:443", "{id}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/{rest}"),
            ("/dir/", "/dir/"),
        ] {
            assert_eq!(template(target), expected, "{target}");
        }
        assert_eq!(template(&format!("/{}", "x".repeat(41))), "/{id}");
    }

    #[test]
    fn patterns_of_an_operator_go_first() {
        let patterns: Vec<_> = ["/shop/{product}", "/shop/{product}/reviews"]
            .into_iter()
            .filter_map(Pattern::new)
            .collect();
        for (target, expected) in [
            ("/shop/red-shoes?page=2", "/shop/{product}"),
            ("/shop/red-shoes/reviews", "/shop/{product}/reviews"),
            ("/shop/", "/shop/"),
            ("/shop/red-shoes/12", "/shop/red-shoes/{id}"),
        ] {
            let mut out = String::new();
            write_template(target, &patterns, &mut out);
            assert_eq!(out, expected);
        }
        assert!(Pattern::new("shop").is_none());
    }
}
