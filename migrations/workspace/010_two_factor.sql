-- What codes from a member's device are compared with. No history. The row is there from the moment at which the member
-- asks for a secret, and counts once a code has shown that the device has it.
create table two_factor (
    member_id    uuid primary key,
    secret       varchar(400) not null, -- sealed under the member's data key; so no two are the same
    last_step    bigint not null default 0, -- of the last code that was accepted: only later ones are
    confirmed_at timestamptz -- null while the secret is only proposed
);
grant select, insert, update, delete on two_factor to :role;

-- What lets a member in who has lost the device: each code once.
create table recovery_code (
    member_id uuid not null,
    code      bytea not null, -- an HMAC under the member's data key
    primary key (member_id, code)
);
grant select, insert, delete on recovery_code to :role;
