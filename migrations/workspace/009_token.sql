create table token (
    id         uuid primary key,
    member_id  uuid not null,
    name       text not null,
    grants     jsonb not null,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revoked_at timestamptz,
    version    integer not null,
    position   bigint not null
);
create index on token (member_id);
grant select, insert, update on token to :role;

-- What a token shown is compared with, and what it may do: all that a request needs besides the roster, so that no
-- request waits for a read model. No history. The row is gone before the token's end is in the log.
create table token_secret (
    token_id   uuid primary key,
    member_id  uuid not null,
    digest     bytea not null unique, -- SHA-256 of the token
    grants     jsonb not null,
    expires_at timestamptz not null,
    used_at    timestamptz
);
create index on token_secret (member_id);
grant select, insert, update, delete on token_secret to :role;
