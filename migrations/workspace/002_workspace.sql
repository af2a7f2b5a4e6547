create table workspace (
    id         uuid primary key,
    slug       text not null,
    name       text not null,
    plan       text not null,
    region     text not null,
    hourly_rate_cents  bigint,
    time_overlap       boolean not null,
    time_locked_before date, -- a day in Brussels
    retention_seconds  bigint,
    earlier_seconds    bigint,
    earlier_until      timestamptz,
    legal_hold         boolean not null,
    erases_at            timestamptz, -- when it is to be erased
    erasure_requested_at timestamptz,
    erasure_requested_by uuid,
    erasure_confirmed    boolean not null, -- by a second admin
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version    integer not null,
    position   bigint not null
);
grant select, insert, update on workspace to :role;
