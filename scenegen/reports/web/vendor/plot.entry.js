export { axisX, axisY, barX, dot, gridX, gridY, line, plot, rectY, ruleX, ruleY, text, tip, pointer } from "@observablehq/plot";
