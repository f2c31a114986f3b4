//! The cookies of one user, as a browser keeps them for one host (RFC 6265): path, expiry, `Max-Age`
//! and `Secure` are honoured, other hosts' cookies refused, and their number and size bounded.

use cookie::Cookie;

/// Most cookies of one user; the oldest gives way. Browsers allow 50 to 180 for a domain.
const MAX_COOKIES: usize = 64;
/// Longest name and value together; longer ones are ignored, as browsers do.
const MAX_COOKIE_BYTES: usize = 4_096;

/// What a cookie is judged by: where its request went and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The target's name.
    pub(crate) host: &'a str,
    /// Whether a secure cookie may travel.
    pub(crate) secure: bool,
    /// The path of the request, without its query.
    pub(crate) path: &'a str,
    /// Seconds since 1970 UTC.
    pub(crate) now_s: i64,
}

/// The cookies of one user.
#[derive(Debug, Default)]
pub(crate) struct Jar(Vec<Stored>);

#[derive(Debug)]
struct Stored {
    name: String,
    value: String,
    path: String,
    secure: bool,
    expires_s: Option<i64>,
}

impl Jar {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes one `Set-Cookie`; one that is not valid or not for this host is ignored, as by browsers.
    pub(crate) fn store(&mut self, set_cookie: &str, site: Site<'_>) {
        let Ok(cookie) = Cookie::parse(set_cookie) else {
            return;
        };
        let secure = cookie.secure().unwrap_or(false);
        if cookie.name().len() + cookie.value().len() > MAX_COOKIE_BYTES
            || cookie
                .domain()
                .is_some_and(|domain| !matches_domain(site.host, domain))
            || (secure && !site.secure)
        {
            return;
        }
        let path = match cookie.path() {
            Some(path) if path.starts_with('/') => path,
            _ => default_path(site.path),
        };
        let expires_s = match (cookie.max_age(), cookie.expires_datetime()) {
            (Some(age), _) => Some(site.now_s.saturating_add(age.whole_seconds())),
            (None, Some(at)) => Some(at.unix_timestamp()),
            (None, None) => None,
        };
        self.0
            .retain(|known| known.name != cookie.name() || known.path != path);
        if expires_s.is_some_and(|at| at <= site.now_s) {
            return;
        }
        if self.0.len() >= MAX_COOKIES {
            self.0.remove(0);
        }
        self.0.push(Stored {
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            path: path.to_owned(),
            secure,
            expires_s,
        });
    }

    /// The header `Cookie` of a request: longer paths first, older cookies first.
    pub(crate) fn header(&self, site: Site<'_>) -> Option<String> {
        let mut matching: Vec<&Stored> = self
            .0
            .iter()
            .filter(|cookie| {
                matches_path(site.path, &cookie.path)
                    && (site.secure || !cookie.secure)
                    && cookie.expires_s.is_none_or(|at| at > site.now_s)
            })
            .collect();
        if matching.is_empty() {
            return None;
        }
        matching.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = matching
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        Some(pairs.join("; "))
    }
}

/// RFC 6265, 5.1.3. The host part of a public suffix cannot be told without a list; since one host
/// alone is loaded, nothing leaks by that.
fn matches_domain(host: &str, domain: &str) -> bool {
    let domain = domain.trim_start_matches('.');
    host.eq_ignore_ascii_case(domain)
        || (host.parse::<std::net::IpAddr>().is_err()
            && host.len() > domain.len()
            && host.as_bytes()[host.len() - domain.len() - 1] == b'.'
            && host.as_bytes()[host.len() - domain.len()..].eq_ignore_ascii_case(domain.as_bytes()))
}

/// RFC 6265, 5.1.4.
fn matches_path(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

/// The path that a cookie without one gets: that of the request up to its last slash.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, now_s: i64) -> Site<'_> {
        Site {
            host: "shop.example",
            secure: false,
            path,
            now_s,
        }
    }

    #[test]
    fn paths_limit_where_a_cookie_goes_and_longer_ones_come_first() {
        let mut jar = Jar::default();
        jar.store("a=1; Path=/", at("/login", 0));
        jar.store("b=2; Path=/shop", at("/login", 0));
        jar.store("c=3", at("/shop/cart/add", 0));
        assert_eq!(jar.header(at("/", 0)).as_deref(), Some("a=1"));
        assert_eq!(jar.header(at("/shopping", 0)).as_deref(), Some("a=1"));
        assert_eq!(
            jar.header(at("/shop/cart", 0)).as_deref(),
            Some("c=3; b=2; a=1")
        );
    }

    #[test]
    fn a_cookie_is_replaced_expires_and_is_deleted() {
        let mut jar = Jar::default();
        jar.store("a=1; Path=/", at("/", 0));
        jar.store("a=2; Path=/; Max-Age=10", at("/", 0));
        assert_eq!(jar.header(at("/", 9)).as_deref(), Some("a=2"));
        assert_eq!(jar.header(at("/", 10)), None);
        jar.store("a=; Path=/; Max-Age=0", at("/", 5));
        assert_eq!(jar.header(at("/", 5)), None);
        jar.store("b=1; Expires=Thu, 01 Jan 1970 00:00:20 GMT", at("/", 5));
        assert_eq!(jar.header(at("/", 19)).as_deref(), Some("b=1"));
        assert_eq!(jar.header(at("/", 20)), None);
    }

    #[test]
    fn other_hosts_and_insecure_ways_are_refused() {
        let mut jar = Jar::default();
        jar.store("a=1; Domain=evil.example", at("/", 0));
        jar.store("b=1; Secure", at("/", 0));
        jar.store("no cookie at all", at("/", 0));
        assert_eq!(jar.header(at("/", 0)), None);
        jar.store("c=1; Domain=.example", at("/", 0));
        assert_eq!(jar.header(at("/", 0)).as_deref(), Some("c=1"));
    }

    #[test]
    fn their_number_and_size_are_bounded() {
        let mut jar = Jar::default();
        jar.store(&format!("big={}", "x".repeat(MAX_COOKIE_BYTES)), at("/", 0));
        for number in 0..=MAX_COOKIES {
            jar.store(&format!("c{number}=1"), at("/", 0));
        }
        assert_eq!(jar.0.len(), MAX_COOKIES);
        assert_eq!(jar.0[0].name, "c1");
    }
}
