package checkpoint

import (
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Receipt is the proof that a record is in the tree of a signed checkpoint, as a text that is checked offline (C2SP tlog-proof).
// index counts from 0: it is the record's position less one.
func Receipt(index int64, proof tlog.RecordProof, signed []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", index)
	writeHashes(&b, proof)
	return b.String() + "\n" + string(signed)
}

// Growth is the proof that the log of a signed checkpoint begins with the old records, in the form in which a witness takes it
// (the request of C2SP tlog-witness).
func Growth(old int64, proof tlog.TreeProof, signed []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", old)
	writeHashes(&b, proof)
	return b.String() + "\n" + string(signed)
}

func writeHashes(b *strings.Builder, hashes []tlog.Hash) {
	for _, h := range hashes {
		b.WriteString(h.String() + "\n")
	}
}
