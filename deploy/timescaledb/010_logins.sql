-- Runs once, when the image makes its first database (psql, as the superuser, in the database `tocsin`).
-- Three logins, none of them a superuser: the owner changes the schema, the workers do the system's work for every
-- tenant, and the application serves people, one tenant at a time. What each may do is granted by the migrations.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv worker_password WORKER_PASSWORD
\getenv app_password APP_PASSWORD

SET password_encryption = 'scram-sha-256';

CREATE ROLE tocsin_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'worker_password';
CREATE ROLE tocsin_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';
-- May become either of the two, but has neither's rights until it says SET ROLE.
CREATE ROLE tocsin LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner_password';
GRANT tocsin_worker, tocsin_app TO tocsin;

ALTER DATABASE :"DBNAME" OWNER TO tocsin;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO tocsin_worker, tocsin_app;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO tocsin;  -- who may then let the other two use it
