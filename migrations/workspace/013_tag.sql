create table tag (
    id          uuid primary key,
    name        text not null,
    name_key    text not null,
    colour      text,
    created_by  uuid not null,
    created_at  timestamptz not null,
    updated_at  timestamptz not null,
    deleted_at  timestamptz,
    merged_into uuid,
    version     integer not null,
    position    bigint not null
);
create index on tag (name_key) where deleted_at is null;
create index on tag (merged_into) where merged_into is not null;
create index on tag (version);
grant select, insert, update on tag to :role;
