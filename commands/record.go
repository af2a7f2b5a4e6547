package commands

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/internal/document"
	"github.com/kluis-eu/kluis/projections"
)

// Region is a place where data of workspaces are.
type Region struct {
	Name    string // as KLUIS_REGIONS has it
	Country string // ISO 3166-1 alpha-2, in the European Economic Area
}

// Records is what the law asks the operator of Kluis to have in writing, as it is on a day: all of it follows from the registry of data
// (domain.Data), the list of subprocessors, and the settings. It is of no workspace, and says nothing of any.
type Records struct {
	Operator string // who runs Kluis, in words of their own; empty: they have not said
	Day      domain.Date
	Regions  []Region
	Changes  []domain.SubprocessorChange // every version of the list of subprocessors, the oldest first
}

// Records reads the records of today.
func (c *Commands) Records(ctx context.Context) (r Records, err error) {
	r = Records{Operator: c.Operator, Regions: c.Regions}
	err = c.DB.Control(ctx, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, `select now()`).Scan(&now); err != nil {
			return err
		}
		r.Day = domain.Day(now)
		r.Changes, err = projections.SubprocessorChanges(ctx, tx)
		return err
	})
	return r, err
}

// Subprocessors are those of the day.
func (r Records) Subprocessors() []domain.Subprocessor {
	return domain.SubprocessorsOn(r.Day, r.Changes)
}

// Version is that of the list of subprocessors: the last one that was announced; 0 for none.
func (r Records) Version() int { return len(r.Changes) }

// The documents that there are.
const (
	ProcessingRecords = "processing_records"
	SubprocessorList  = "subprocessors"
	DPA               = "dpa"
	Residency         = "residency"
	SecurityMeasures  = "security_measures"
)

// DocumentNames are the documents that there are, in the order in which they are read.
var DocumentNames = []string{DPA, ProcessingRecords, SubprocessorList, Residency, SecurityMeasures}

// Document writes one of the documents.
func (r Records) Document(name string) document.Document {
	day, _ := time.Parse(time.DateOnly, string(r.Day)) // it is one
	title, sections := documents[name].title, documents[name].write(r)
	return document.Document{Title: title, Date: day, Sections: sections}
}

// printed are the PDFs that were made last, one of each document, so that whoever asks often costs little.
type printed struct {
	mu   sync.Mutex
	last map[string]printing
}

// printing is a PDF, and what it was made of.
type printing struct {
	records string
	pdf     []byte
}

// PDF is a document as a PDF, which is nobody's to change.
func (c *Commands) PDF(r Records, name string) ([]byte, error) {
	of := fmt.Sprint(r)
	c.printed.mu.Lock()
	defer c.printed.mu.Unlock()
	if last := c.printed.last[name]; last.records == of {
		return last.pdf, nil
	}
	var pdf bytes.Buffer
	if err := r.Document(name).PDF(&pdf); err != nil {
		return nil, err
	}
	if c.printed.last == nil {
		c.printed.last = map[string]printing{}
	}
	c.printed.last[name] = printing{of, pdf.Bytes()}
	return pdf.Bytes(), nil
}

var documents = map[string]struct {
	title string
	write func(Records) []document.Section
}{
	ProcessingRecords: {"Records of processing activities", Records.processing},
	SubprocessorList:  {"Subprocessors", Records.subprocessors},
	DPA:               {"Data processing agreement", Records.agreement},
	Residency:         {"Where the data are", Records.residency},
	SecurityMeasures:  {"Technical and organisational measures", Records.measures},
}
