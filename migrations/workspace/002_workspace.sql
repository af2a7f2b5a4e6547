create table workspace (
    id         uuid primary key,
    slug       text not null,
    name       text not null,
    plan       text not null,
    region     text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    version    integer not null,
    position   bigint not null
);
grant select, insert, update on workspace to :role;
