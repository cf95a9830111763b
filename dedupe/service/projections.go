package service

import (
	"net/http"

	"efsdedupe/dedupe/report"
)

func (s *service) project(w http.ResponseWriter, r *http.Request) error {
	q := report.NewRequest()
	if err := decode(r, &q); err != nil {
		return err
	}
	p, err := q.Project()
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	return report.WriteProjection(w, report.JSON, &p, false)
}
