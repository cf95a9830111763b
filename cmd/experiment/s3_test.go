package main

import (
	"encoding/json"
	"testing"
)

// TestPredictFromS3 reads images from the server instead of the mount: the same
// predictions, a GET for each task, and a bill with those.
func TestPredictFromS3(t *testing.T) {
	out, said := runPredict(t, "--from", "s3", "--contenders", "--memory", "3008", "--modes", "goroutines,processes", "--format", "json")
	var r struct {
		Setup struct {
			FromS3 bool `json:"from_s3"`
		}
		Rows []struct {
			Mode string
			Bill struct{ EFS, S3 float64 }
			Warm struct {
				Gets int `json:"gets_p50"`
			}
			Calls []struct {
				Outcome, Error string
				Reads          struct{ Opens, Gets int }
			}
		}
	}
	if err := json.Unmarshal(out, &r); err != nil || !r.Setup.FromS3 || len(r.Rows) < 3 {
		t.Fatalf("%v: %d rows, from S3 %t: %s", err, len(r.Rows), r.Setup.FromS3, said)
	}
	for _, row := range r.Rows {
		for _, c := range row.Calls {
			if c.Outcome != "ok" || c.Reads.Opens != 0 || c.Reads.Gets != 4 {
				t.Errorf("%s: %+v", row.Mode, c)
			}
		}
		// 50 million calls × 4 × $0.0000004
		if row.Warm.Gets != 4 || row.Bill.S3 != 80 || row.Bill.EFS != 0 {
			t.Errorf("%s: %d GETs, S3 %v, EFS %v; want 4, 80 and 0", row.Mode, row.Warm.Gets, row.Bill.S3, row.Bill.EFS)
		}
	}
}
