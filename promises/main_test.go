package promises

import (
	"testing"

	"github.com/kluis-eu/kluis/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
