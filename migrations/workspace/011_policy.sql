-- What the workspace asks of its members: no row before the policy was first changed, and one from then on.
create table policy (
    id               uuid primary key,
    two_factor_roles text[] not null,
    updated_at       timestamptz not null,
    version          integer not null,
    position         bigint not null
);
grant select, insert, update on policy to :role;
