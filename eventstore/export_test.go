package eventstore

import "time"

// SetGrace shortens the time that handlers get after the end.
func (s *Signals) SetGrace(d time.Duration) { s.grace = d }
