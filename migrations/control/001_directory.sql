-- Which database this is: another one after a dump was put back into a new database, and after a failover or a recovery to a point in time.
create function incarnation() returns text language sql stable set search_path = pg_catalog, pg_temp as $$
    select concat_ws('/', (select system_identifier from pg_control_system()), (select oid from pg_database where datname = current_database()),
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))
$$;

-- The directory of workspaces. No customer content: names and plans are in the workspace's own log.
-- A row is never deleted, so that neither an id nor a slug is used again.
create table workspace (
    id         uuid primary key,
    slug       text not null unique,
    region     text not null,
    status     text not null check (status in ('active', 'closed', 'erasing', 'erased', 'arriving', 'moved')), -- the last two: see tenancy/move.go
    version    integer not null, -- the last file of migrations/workspace that it has
    hashes     text[] not null, -- of the files up to each one: a program that knows fewer can compare those that it knows
    failure    text, -- why the next file failed, the last time that it was tried
    shape      integer not null, -- of the fold by which every row of its read models was derived, or an older one: see checkpoint
    heeded     text default incarnation(), -- in which database the ledger of erasures was heeded: see commands/ledger.go
    retained_at timestamptz not null default now(), -- when what is older than its plan says was last looked for
    created_at timestamptz not null default now()
);
grant select, insert, update on workspace to :login;

-- Sign-ups that wait for their code. `sealed` is the whole pending sign-up under the keyring; the code is
-- an HMAC. The attempt is counted, and committed, before a code is compared.
create table signup (
    id         uuid primary key,
    sealed     text not null,
    code       bytea not null,
    attempts   integer not null default 0,
    expires_at timestamptz not null
);
create index on signup (expires_at);
grant select, insert, update, delete on signup to :login;

-- Which region this database is, and which one has the list of slugs: its own, when it is the home of the installation.
create table cell (
    single boolean primary key default true check (single),
    region text not null,
    home   text not null
);
grant select on cell to :login;

-- In the home alone: the region of every workspace of the installation. So a slug is one workspace's whatever the region, for ever,
-- and whoever has a slug or a token finds the cell. A row comes before its workspace in another cell, and is settled once that is there.
create table place (
    id         uuid primary key,
    slug       text not null unique,
    region     text not null,
    settled    boolean not null,
    erased     boolean not null default false, -- what a move that was broken off left of it in another cell goes, too: see tenancy/place.go
    claimed_at timestamptz not null default now()
);
create index on place (region) where not settled;
grant select, insert, update, delete on place to :login;
