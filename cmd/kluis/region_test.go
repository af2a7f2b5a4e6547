package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// KLUIS_REGIONS is read as a text or from a file. A URL may have commas.
func TestRegions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "regions")
	text := "# where data is\nbe=\nfrankfurt=postgres://kluis:pw@h1:5432,h2:5432/kluis?target_session_attrs=read-write\n  frankfurt.place = eu-central-1\nfrankfurt.blobs=s3://blobs?region=eu-central-1\n\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{file, "be=,frankfurt=postgres://kluis:pw@h1:5432,h2:5432/kluis?target_session_attrs=read-write,frankfurt.place=DE,frankfurt.blobs=s3://blobs?region=eu-central-1"} {
		all, err := settings{Regions: from, DatabaseURL: "postgres://home/kluis", OwnerURL: "postgres://admin@home/kluis", Data: "/data"}.cells(outside{})
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %d regions, %v", from, len(all), err)
		}
		be, de := all[0], all[1]
		if be.name != "be" || !be.first || be.country != "BE" || be.DatabaseURL != "postgres://home/kluis" || be.OwnerURL != "postgres://admin@home/kluis" || be.BlobURL != "" {
			t.Errorf("the home is %+v", be)
		}
		if de.name != "frankfurt" || de.first || de.country != "DE" || de.DatabaseURL != "postgres://kluis:pw@h1:5432,h2:5432/kluis?target_session_attrs=read-write" || de.OwnerURL != "" || de.BlobURL != "s3://blobs?region=eu-central-1" {
			t.Errorf("the other one is %+v", de)
		}
	}
	one, err := settings{Regions: "be=,de=postgres://de/kluis", Region: "de", Data: "/data"}.cells(outside{})
	if err != nil || len(one) != 1 || one[0].name != "de" || one[0].BlobURL != "file:///data/blobs-de" {
		t.Errorf("--region de: %+v, %v", one, err)
	}
	if _, err := (settings{Regions: "be=,de=postgres://de/kluis,de.blobs=s3://blobs?region=eu-central-1", Data: "/data"}).cells(outside{BlobURL: "s3://blobs?region=eu-central-1"}); err == nil ||
		!strings.Contains(err.Error(), "regions be and de have the same place for blobs") {
		t.Errorf("two regions with one place for blobs: %v", err)
	}
	named, err := settings{Regions: "fr=postgres://fr/kluis", DatabaseURL: "postgres://other/kluis"}.cells(outside{})
	if err != nil || named[0].DatabaseURL != "postgres://fr/kluis" {
		t.Errorf("a home with a URL of its own: %+v, %v", named, err)
	}
}

// Kluis does not start with a place outside of the European Economic Area, however it is named, and the message names the place.
func TestRegionsOutside(t *testing.T) {
	t.Parallel()
	const secret = "verysecret"
	for name, c := range map[string]struct {
		env  string
		says string
	}{
		"a country":                   {"KLUIS_REGIONS=us=", "US is outside"},
		"a region of Amazon":          {"KLUIS_REGIONS=us-east-1=", "us-east-1 is in US"},
		"of Google":                   {"KLUIS_REGIONS=be=,europe-west2=postgres://kluis:" + secret + "@h/kluis", "europe-west2 is in GB"},
		"of Microsoft":                {"KLUIS_REGIONS=eastus2=", "eastus2 is in US"},
		"Switzerland":                 {"KLUIS_REGIONS=be=,eu-central-2=postgres://h/kluis", "eu-central-2 is in CH"},
		"declared":                    {"KLUIS_REGIONS=west=,west.place=us-west-2", "us-west-2 is in US"},
		"declared to be elsewhere":    {"KLUIS_REGIONS=us-east-1=,us-east-1.place=BE", "us-east-1 is in US"},
		"not known":                   {"KLUIS_REGIONS=moon-1=", "moon-1.place"},
		"declared, not known":         {"KLUIS_REGIONS=moon-1=,moon-1.place=moon", "moon-1.place"},
		"the host of a database":      {"KLUIS_DATABASE_URL=postgres://kluis:" + secret + "@db.x.us-east-1.rds.amazonaws.com/kluis", "us-east-1 is in US"},
		"a bucket":                    {"KLUIS_BLOB_URL=s3://blobs?region=us-west-2", "us-west-2 is in US"},
		"a bucket of checkpoints":     {"KLUIS_CHECKPOINTS=s3://blobs?region=ap-south-1", "ap-south-1 is in IN"},
		"a bucket where Amazon says":  {"KLUIS_BLOB_URL=s3://blobs", "us-gov-west-1 is in US"},
		"a bucket of a region":        {"KLUIS_REGIONS=be=,de=postgres://h/kluis,de.blobs=s3://blobs?region=sa-east-1", "sa-east-1 is in BR"},
		"a region without a database": {"KLUIS_REGIONS=be=,de=", "region de names no database"},
		"two of a name":               {"KLUIS_REGIONS=be=,BE=postgres://h/kluis", "two regions be"},
		"what a region does not have": {"KLUIS_REGIONS=be=,be.bucket=x", "be.bucket"},
		"a place before its region":   {"KLUIS_REGIONS=be=,de.place=DE,de=postgres://h/kluis", "de.place comes before de="},
		"no region":                   {"KLUIS_REGIONS=postgres://kluis:" + secret + "@h/kluis", "expected be="},
		"a file that is not there":    {"KLUIS_REGIONS=/nowhere/regions", "/nowhere/regions"},
	} {
		h := &home{data: filepath.Join(t.TempDir(), "data"), env: []string{"AWS_REGION=us-gov-west-1", c.env}}
		for _, command := range []string{"serve", "migrate"} {
			if command == "migrate" && !strings.HasPrefix(c.env, "KLUIS_REGIONS") {
				continue
			}
			status, _, stderr := h.run(command)
			if status == success || !strings.Contains(stderr, c.says) || strings.Contains(stderr, secret) {
				t.Errorf("%s, %s: status %d, %s", name, command, status, stderr)
			}
		}
		if _, err := os.Stat(h.data); err == nil {
			t.Errorf("%s: the refused start made %s", name, h.data)
		}
	}
	both := settings{Regions: "be=,de=postgres://h/kluis", Data: "/data"}
	if _, err := both.cells(outside{BlobURL: "s3://blobs?region=eu-west-1"}); err == nil || !strings.Contains(err.Error(), "de.blobs") {
		t.Errorf("a region gets the bucket of the home: %v", err)
	}
}
