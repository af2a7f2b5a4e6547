package password

import "fmt"

// Params is what a hash costs. RFC 9106, section 4, says how to choose.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes over the memory
	Threads uint8  // lanes computed in parallel
}

var (
	// Default has the memory and the passes of the second recommendation of RFC 9106, on one core.
	Default = Params{Memory: 64 << 10, Time: 3, Threads: 1}

	// Floor is the least that the OWASP Password Storage Cheat Sheet recommends. Each of its numbers is a minimum.
	Floor = Params{Memory: 19456, Time: 2, Threads: 1}

	// ceiling keeps a stored string that an attacker has planted from taking all of the memory, or minutes.
	ceiling = Params{Memory: 512 << 10, Time: 16, Threads: 16}
)

// String writes the parameters as PHC strings do.
func (p Params) String() string { return fmt.Sprintf("m=%d,t=%d,p=%d", p.Memory, p.Time, p.Threads) }

// ParseParams reads parameters such as "m=65536,t=3,p=1" (KiB, passes, lanes) for new hashes. It refuses those below Floor or above the
// ceiling.
func ParseParams(text string) (Params, error) {
	p, err := parseParams(text)
	if err != nil {
		return Params{}, fmt.Errorf("%w: expected for instance %s", err, Default)
	}
	return p, p.check(Floor)
}

// check tells which number is below the given minimum or above the ceiling.
func (p Params) check(least Params) error {
	for _, n := range []struct {
		name                string
		value, least, limit uint32
	}{
		{"memory in KiB", p.Memory, least.Memory, ceiling.Memory},
		{"time", p.Time, least.Time, ceiling.Time},
		{"threads", uint32(p.Threads), uint32(least.Threads), uint32(ceiling.Threads)},
	} {
		if n.value < n.least || n.value > n.limit {
			return fmt.Errorf("argon2id: %s must be %d to %d, not %d", n.name, n.least, n.limit, n.value)
		}
	}
	return nil
}
