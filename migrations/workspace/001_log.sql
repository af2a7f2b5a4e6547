-- The log. The workspace's role may read and add; nobody but the owner, for retention, may change or delete.
create table event (
    position bigint primary key,
    id       uuid not null,
    stream   text not null,
    version  integer not null,
    type     text not null,
    at       timestamptz not null, -- never decreases with position
    actor    uuid,                 -- null for Kluis itself
    meta     json,                 -- where the actor asked from: see Record
    data     json not null,        -- json, not jsonb: the exact bytes that were written
    size     integer not null default 0, -- bytes of data, from the append: pages are weighed without reading it
    unique (stream, version) include (position)
);
-- What auditors ask for, in the order of the log: see eventstore/filter.go.
create index on event (at, position);
create index on event (actor, position);
create index on event (type, position);
grant select, insert on event to :role;

-- Where the log ends. An append locks this row and compares it with what its writer remembers, so that positions are
-- without gaps and in commit order, also after the log went back (a failover, a restore).
create table head (
    single   boolean primary key default true check (single),
    position bigint not null,
    last     uuid not null,             -- the id of the event there: the same position of another past is told apart
    at       timestamptz not null,
    epoch    integer not null default 1, -- one more after each restore
    pruned   bigint not null default 0, -- up to here the events are gone, or going, and in baseline is what they made: nobody reads them
    pruned_at timestamptz                -- the time of the one there
);
insert into head (position, last, at) values (0, '00000000-0000-0000-0000-000000000000', 'epoch');
grant select, update on head to :role;

-- What the events that were pruned have made: the state of each thing, and so the version of each stream. A row counts when its position is
-- one of those that are pruned, and the last of those of its thing.
create table baseline (
    model    text not null,    -- the read model; empty for a stream that makes none
    id       uuid not null,
    stream   text not null,
    version  integer not null, -- of the stream, when the state was made
    position bigint not null,
    state    json not null,
    primary key (model, id, position)
);
create index on baseline (stream);
grant select on baseline to :role;

-- Appends that carry a key, so that a command sent twice has one effect. Kept for 24 hours.
create table dedupe (
    key         bytea primary key,
    fingerprint bytea not null, -- SHA-256 of what was asked for
    first       bigint not null,
    last        bigint not null, -- the positions that came of it
    at          timestamptz not null,
    answer      json -- what the command was answered with, when its events alone do not say
);
create index on dedupe (at);
grant select, insert, delete on dedupe to :role;

-- The position up to which the read models are derived, the version of the roster there, and the shapes of the folds that
-- derived them: a process does not fold what a newer one has folded, and rebuilds what older ones have.
create table checkpoint (
    single   boolean primary key default true check (single),
    position bigint not null,
    roster   integer not null,
    shape    integer not null, -- the newest that wrote a row
    oldest   integer not null  -- the oldest that a row may be of
);
insert into checkpoint (position, roster, shape, oldest) values (0, 0, 0, 0);
grant select, insert, update on checkpoint to :role;

-- The Merkle tree over the log (RFC 6962): a leaf is the hash of a record as replay serves its line. It follows the log as
-- the read models do, and outlives the records that are pruned.
create table tree (
    single boolean primary key default true check (single),
    size   bigint not null -- the records that are in it
);
insert into tree (size) values (0);
grant select, update on tree to :role;

-- Its hashes, in tiles of up to 32 neighbours of one level, as golang.org/x/mod/sumdb/tlog has them: the last tile of a level grows.
create table tile (
    id     bigint primary key, -- level << 48 | number
    hashes bytea not null
);
grant select, insert, update on tile to :role;
