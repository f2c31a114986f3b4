-- A shop's database as it should be: every look-up by an index, statistics fresh, few dead rows.
CREATE TABLE accounts (id int PRIMARY KEY, owner int NOT NULL, balance int NOT NULL, note text);
INSERT INTO accounts SELECT g, g / 10, 100, md5(g::text) FROM generate_series(1, 40000) g;
CREATE INDEX accounts_owner_idx ON accounts (owner);
-- When all of that is counted:
VACUUM ANALYZE accounts;
