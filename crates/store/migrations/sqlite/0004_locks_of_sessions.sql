-- A page that was written with every lock, to spare a look at all locks when a session ends.
drop index locks_session;
