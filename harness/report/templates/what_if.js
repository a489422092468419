"use strict";
// Ranks again while sliders are moved, by the rules of harness/recommend (a test holds both against each other).
// Nothing is loaded or sent; the numbers are those that the page carries.
const whatIf = (() => {
  const DAY_S = 86400, MONTH_DAYS = 365 / 12, LEAST_S = 1e-6, MB = 1e6;

  const clamp = (share) => Math.min(1, Math.max(0, share));

  const median = (values) => {
    const ordered = [...values].sort((a, b) => a - b), middle = ordered.length / 2;
    return ordered.length % 2 ? ordered[Math.floor(middle)] : (ordered[middle - 1] + ordered[middle]) / 2;
  };

  // value.worth: where a number stands between the worst (0) and the best (1) of a fixed scale.
  function worth(measured, aim) {
    const span = aim.log ? Math.log(aim.best) - Math.log(aim.worst) : 0;
    if (!span) return clamp((measured - aim.worst) / (aim.best - aim.worst));
    if (measured <= 0) return aim.best < aim.worst ? 1 : 0;
    return clamp((Math.log(measured) - Math.log(aim.worst)) / span);
  }

  // costs.cost: US dollars a month, from one start.
  function month(charge, cold, warm, perSecond, perDay) {
    const rate = perDay / DAY_S;
    if (!charge.by_use) {
      return Math.max(1, Math.ceil(rate / perSecond - 1e-9)) * charge.hour * 24 * MONTH_DAYS;
    }
    const share = Math.exp(-rate * charge.kept_s);
    const charged = (seconds) => Math.ceil(seconds / charge.rounded_s - 1e-9) * charge.rounded_s;
    const seconds = (1 - share) * charged(warm) + share * charged(cold);
    return rate * DAY_S * MONTH_DAYS * (charge.request + charge.second * seconds);
  }

  function cost(one, perDay) {
    if (!one.charge || !one.cold_s?.length) return null;
    return median(one.cold_s.map((cold) => {
      const warm = Math.min(one.warm_s ?? cold, cold);
      return month(one.charge, cold, warm, one.per_second || 1 / Math.max(one.warm_s || cold, LEAST_S), perDay);
    }));
  }

  function measured(one, aim, place, set) {
    if (aim.moved === "cost") return cost(one, set.per_day);
    if (aim.moved === "transfer") return one.packed_bytes == null ? null : one.packed_bytes * 8 / (set.link_mbit * 1e6);
    return one.medians[place] ?? null;
  }

  // engine.recommend: who is left in, best first; and who is out, and why.
  function rank(what, set) {
    const total = set.weights.reduce((sum, weight) => sum + weight, 0) || 1;
    const ranked = [], excluded = [];
    for (const one of what.candidates) {
      const why = [...(one.out ?? [])];
      if (set.memory_mb != null && one.peak_bytes != null && one.peak_bytes > set.memory_mb * MB) {
        why.push("needs more memory than the target has");
      }
      let value = 0;
      const found = what.aims.map((aim, place) => {
        const number = measured(one, aim, place, set);
        if (number != null) {
          value += set.weights[place] / total * worth(number, aim);
          if (aim.moved && aim.limit != null && (aim.higher ? number < aim.limit : number > aim.limit)) {
            why.push(`${aim.title} is beyond the limit`);
          }
        }
        return number;
      });
      if (why.length) excluded.push({ method: one.method, why });
      else ranked.push({ method: one.method, value: clamp(value), found });
    }
    ranked.sort((a, b) => b.value - a.value || (a.method < b.method ? -1 : 1));
    return { ranked, excluded };
  }

  return { rank, worth, cost };
})();
