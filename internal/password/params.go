package password

import "fmt"

// Params is what a hash costs. See RFC 9106, section 4, on choosing.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes over the memory
	Threads uint8  // lanes computed in parallel
}

var (
	// Default is the memory and the passes of RFC 9106's second recommendation, on one core.
	Default = Params{Memory: 64 << 10, Time: 3, Threads: 1}

	// Floor is the least that the OWASP Password Storage Cheat Sheet recommends. Each of its numbers is a minimum.
	Floor = Params{Memory: 19456, Time: 2, Threads: 1}

	// ceiling keeps a stored string that somebody planted from taking the machine's memory, or minutes.
	ceiling = Params{Memory: 512 << 10, Time: 16, Threads: 16}
)

// String writes the parameters as PHC strings and ParseParams have them.
func (p Params) String() string { return fmt.Sprintf("m=%d,t=%d,p=%d", p.Memory, p.Time, p.Threads) }

// ParseParams reads parameters such as "m=65536,t=3,p=1" (KiB, passes, lanes) for hashes to be made: those below Floor or
// above the ceiling are refused.
func ParseParams(text string) (Params, error) {
	p, err := parseParams(text)
	if err != nil {
		return Params{}, fmt.Errorf("%w: expected such as %s", err, Default)
	}
	return p, p.check(Floor)
}

// check says which number is below the given minimum or above the ceiling.
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
