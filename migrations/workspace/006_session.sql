-- What is not history: keys, credentials, sessions. Secrets never enter events.

-- The data keys of the workspace (subject = its id) and of its members, wrapped by the keyring outside.
create table data_key (
    subject uuid primary key,
    wrapped varchar(480) not null -- so short that Postgres makes no TOAST table
);
grant select, insert on data_key to :role;

create table credential (
    member_id  uuid primary key,
    password   varchar(200) not null, -- a PHC string
    updated_at timestamptz not null default now()
);
grant select, insert, update, delete on credential to :role;

create table session (
    id         uuid primary key,
    member_id  uuid not null,
    digest     bytea not null unique, -- SHA-256 of the token
    created_at timestamptz not null default now(),
    used_at    timestamptz not null default now(),
    expires_at timestamptz not null
);
create index on session (member_id);
grant select, insert, update, delete on session to :role;

-- The code that lets an invited member in: an HMAC, and the attempts made on it.
create table invitation (
    member_id  uuid primary key,
    code       bytea not null,
    attempts   integer not null default 0,
    expires_at timestamptz not null
);
grant select, insert, update, delete on invitation to :role;

-- How far the reactions (invitation mails) have read the log.
create table reaction (
    single   boolean primary key default true check (single),
    position bigint not null
);
insert into reaction (position) values (0);
grant select, update on reaction to :role;
