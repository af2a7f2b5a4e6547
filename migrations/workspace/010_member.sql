-- In which language a member is written to. Who was there before there were languages reads English, as the fold of
-- their events has it.
alter table member add column language text not null default 'en';
