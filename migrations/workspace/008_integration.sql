create table integration (
    id              uuid primary key,
    provider        text not null,
    name            text not null,
    scopes          text[] not null,
    expires_at      timestamptz,
    created_by      uuid not null,
    created_at      timestamptz not null,
    updated_at      timestamptz not null,
    disconnected_at timestamptz,
    version         integer not null,
    position        bigint not null
);
grant select, insert, update on integration to :role;

-- The OAuth tokens, sealed under the workspace's data key. No history, and gone when the integration is disconnected.
create table integration_secret (
    integration_id uuid primary key,
    access_token   text not null,
    refresh_token  text,
    created_at     timestamptz not null default now()
);
grant select, insert, update, delete on integration_secret to :role;
