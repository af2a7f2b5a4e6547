package promises

import (
	"flag"
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

// A round of a generated test asks whole processes many times, so they are few unless -rapid.checks says another number.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "25") // rapid has that flag
	pgtest.Main(m)
}
