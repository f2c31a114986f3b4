-- A table whose rows sessions queue for, and one that is rewritten all the time.
CREATE TABLE stock (id int PRIMARY KEY, left_over int NOT NULL);
INSERT INTO stock SELECT g, 100 FROM generate_series(1, 1000) g;
CREATE TABLE journal (id int PRIMARY KEY, body text);
INSERT INTO journal SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 8000) g;
-- When all of that is counted:
VACUUM ANALYZE stock, journal;
CREATE DATABASE churn;
