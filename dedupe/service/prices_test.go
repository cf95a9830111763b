package service

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"efsdedupe/dedupe/cost"
)

// A service with a price book of its own takes that by default, and says so.
func TestOwnPrices(t *testing.T) {
	book, err := cost.ParseBook([]byte(`{"region": "mars-1", "currency": "USD", "sources": {"s": "a contract"}, "prices": [
		{"meter": "lambda.duration.arm64", "unit": "GB-second", "source": "s", "checked": "2020-01", "tiers": [{"price": "1"}]},
		{"meter": "lambda.requests", "unit": "request", "source": "s", "checked": "2020-01", "tiers": [{"price": "1"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	h := newService(t, Config{Root: tenants(t), Prices: book})
	nothing := `"usage": {"api": "none", "storage_class": "none"}`
	got := ask(t, h, Caller{}, "POST", "/v1/projections", `{`+nothing+`}`)
	if got.status != 200 || !bytes.Contains(got.body, []byte(`"region":"mars-1"`)) || !bytes.Contains(got.body, []byte(`"prices":"2020-01"`)) {
		t.Errorf("by default: %d %s", got.status, got.body)
	}
	got = ask(t, h, Caller{}, "POST", "/v1/projections", `{"region": "us-east-1", `+nothing+`}`)
	if got.status != 200 || !bytes.Contains(got.body, []byte(`"region":"us-east-1"`)) {
		t.Errorf("of another region: %d %s", got.status, got.body)
	}
	got = ask(t, h, Caller{}, "POST", "/v1/scans", `{}`)
	if doc := got.decode(t); got.status != 400 || !strings.Contains(doc.Detail, `in mars-1`) {
		t.Errorf("a scan: %d %s", got.status, got.body)
	}

	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum        []string
					Description string
				}
			}
		}
	}
	if err := json.Unmarshal(ask(t, h, Caller{}, "GET", "/v1/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{"scanProjection", "projectionRequest"} {
		region := doc.Components.Schemas[schema].Properties["region"]
		if !slices.Equal(region.Enum, append(cost.Regions(), "mars-1")) || region.Description != "default mars-1" {
			t.Errorf("%s: %+v", schema, region)
		}
	}
}
