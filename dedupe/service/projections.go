package service

import (
	"net/http"

	"efsdedupe/dedupe/cost"
	"efsdedupe/dedupe/report"
)

func (s *service) project(w http.ResponseWriter, r *http.Request) error {
	q := report.NewRequest()
	q.Region = s.region()
	if err := decode(r, &q); err != nil {
		return err
	}
	if err := checkNamed(q.Usage.API, q.Usage.StorageClass); err != nil {
		return err
	}
	u, err := q.Cost()
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	book, err := s.book(q.Region)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	p := cost.Project(book, u)
	if p.Err != nil {
		return refuse(http.StatusBadRequest, "%v", cost.Explain(p.Err))
	}
	w.Header().Set("Content-Type", "application/json")
	return report.WriteProjection(w, report.JSON, &p, false)
}
